/**
 * The error catalogue: every `type` that a caller can meet, with its HTTP status. Platform errors come from the
 * gateway (`{"detail": "…", "error_type": "…"}`), model errors from an app (`{"detail": [{loc, msg, type, …}]}`).
 * docs/reference/errors.md shows both tables; a test holds it equal to this file.
 */

/** Status, whether the same call may succeed when repeated as it is, and the default `detail`. */
export interface PlatformErrorEntry {
  status: number
  retryable: boolean
  text: string
}

export const platformErrors = {
  request_timeout: { status: 504, retryable: false, text: "Request timed out" },
  startup_timeout: { status: 504, retryable: false, text: "No runner became ready in time" },
  runner_scheduling_failure: {
    status: 503,
    retryable: true,
    text: "No runner could be allocated for this request",
  },
  runner_connection_timeout: {
    status: 503,
    retryable: true,
    text: "Connecting to the runner timed out",
  },
  runner_disconnected: { status: 503, retryable: true, text: "The runner was lost" },
  runner_connection_refused: {
    status: 503,
    retryable: true,
    text: "The runner refused the connection",
  },
  runner_connection_error: {
    status: 503,
    retryable: true,
    text: "The connection to the runner failed",
  },
  runner_incomplete_response: {
    status: 502,
    retryable: false,
    text: "The runner's answer was incomplete",
  },
  runner_server_error: { status: 500, retryable: false, text: "Internal Server Error" },
  client_disconnected: { status: 499, retryable: false, text: "The caller went away" },
  client_cancelled: { status: 499, retryable: false, text: "Request was cancelled" },
  bad_request: { status: 400, retryable: false, text: "Bad request" },
  internal_error: { status: 500, retryable: false, text: "Internal error" },
  concurrent_requests_limit: {
    status: 429,
    retryable: true,
    text: "Too many concurrent requests; try again",
  },
  // Those below are ours.
  idempotency_key_reused: {
    status: 422,
    retryable: false,
    text: "The idempotency key was used before with another body",
  },
  storage_quota_exceeded: {
    status: 413,
    retryable: false,
    text: "The account stores as much as it may",
  },
  // All of these are 429 because the official Python client repeats a 429 and never a 503.
  server_stopping: { status: 429, retryable: true, text: "The server is stopping; try again" },
  storage_full: { status: 429, retryable: true, text: "The server's storage is full; try again" },
  request_rate_limit: {
    status: 429,
    retryable: true,
    text: "Too many requests in a second; try again",
  },
  queue_too_long: {
    status: 429,
    retryable: true,
    text: "The queue is longer than fal_max_queue_length; try again",
  },
} as const satisfies Record<string, PlatformErrorEntry>

export type PlatformErrorType = keyof typeof platformErrors

/** The types that the hosted service does not have. */
export const ownPlatformErrorTypes: readonly PlatformErrorType[] = [
  "idempotency_key_reused",
  "storage_quota_exceeded",
  "server_stopping",
  "storage_full",
  "request_rate_limit",
  "queue_too_long",
]

/** Seconds until a repeat makes sense, for a type that answers 429. */
const retryAfterSeconds: Partial<Record<PlatformErrorType, number>> = {
  storage_full: 5,
  queue_too_long: 5,
}
const retryAfterSecondsDefault = 1

export function isPlatformErrorType(text: string): text is PlatformErrorType {
  return Object.hasOwn(platformErrors, text)
}

/** An error that the gateway answers; thrown where no return value reaches the caller. */
export class PlatformError extends Error {
  readonly type: PlatformErrorType
  readonly status: number
  readonly detail: string
  /** Of the answer, beside those that every platform error has. */
  readonly headers: Record<string, string>

  constructor(
    type: PlatformErrorType,
    detail: string = platformErrors[type].text,
    headers: Record<string, string> = {},
    options?: ErrorOptions,
  ) {
    super(detail, options)
    this.name = "PlatformError"
    this.type = type
    this.status = platformErrors[type].status
    this.detail = detail
    this.headers = headers
  }
}

/** Header names are lower case. */
export interface ErrorAnswer {
  status: number
  headers: Record<string, string>
  body: Uint8Array
}

export interface PlatformErrorExtra {
  /** Told in the body of a 5xx. */
  requestId?: string
  /** Of a 429, in place of the catalogue's; whole seconds. */
  retryAfterSeconds?: number
}

/**
 * The HTTP answer for a platform error.
 *
 *     platformErrorAnswer("runner_disconnected", undefined, { requestId }).status // 503
 */
export function platformErrorAnswer(
  type: PlatformErrorType,
  detail: string = platformErrors[type].text,
  extra: PlatformErrorExtra = {},
): ErrorAnswer & { detail: string } {
  const { status, retryable } = platformErrors[type]
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "x-fal-error-type": type,
    // Two pages of the documentation name two headers for the same thing; clients may read either.
    "x-fal-retryable": String(retryable),
  }
  const body: Record<string, unknown> = { detail, error_type: type }
  if (retryable) headers["x-fal-needs-retry"] = "1"
  if (status === 429) {
    const seconds = extra.retryAfterSeconds ?? retryAfterSeconds[type] ?? retryAfterSecondsDefault
    headers["retry-after"] = String(seconds)
    body["retry_after"] = seconds
  }
  if (status >= 500 && extra.requestId !== undefined) body["request_id"] = extra.requestId
  return { status, headers, body: new TextEncoder().encode(JSON.stringify(body)), detail }
}
