/** Skeleton, to be completed: the error catalogue of protocol.md §8. */

/** The platform's own errors: code → HTTP status. Body `{"detail","error_type"}`, header `X-Fal-Error-Type`. */
export type PlatformErrorType =
  | "request_timeout"
  | "startup_timeout"
  | "runner_scheduling_failure"
  | "runner_connection_timeout"
  | "runner_disconnected"
  | "runner_connection_refused"
  | "runner_connection_error"
  | "runner_incomplete_response"
  | "runner_server_error"
  | "client_disconnected"
  | "client_cancelled"
  | "bad_request"
  | "internal_error"
  | "concurrent_requests_limit"
