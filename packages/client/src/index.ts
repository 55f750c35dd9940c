export type { CallOptions, FileLifecycle, RequestOptions } from "./call-options.ts"
export { type Client, createClient } from "./client.ts"
export type { EndpointId, Endpoints, FileInput, Input, Output } from "./endpoints.ts"
export {
  ApiError,
  RealtimeError,
  TimeoutError,
  TintypeError,
  TransportError,
  ValidationError,
  type ValidationIssue,
} from "./errors.ts"
export type {
  CompletedStatus,
  LogLine,
  QueuedStatus,
  QueueStatus,
  RequestReference,
  RunningStatus,
  StatusOptions,
  SubmitOptions,
  SubmittedRequest,
} from "./queue.ts"
export type { RealtimeConnection, RealtimeOptions } from "./realtime/connection.ts"
export type { ClientOptions, Credentials, RetryOptions, WebSocketClass } from "./settings.ts"
export type { UploadOptions, UploadProgress } from "./storage/upload.ts"
export type { EventStream, StreamOptions } from "./stream.ts"
export type {
  StatusStreamOptions,
  SubscribeOptions,
  SubscribeToStatusOptions,
} from "./subscribe.ts"
export type { TokenOptions, TokenSource } from "./tokens.ts"
export type { Result } from "./transport/send.ts"
export {
  type ReceivedWebhook,
  type VerifiedWebhook,
  type WebhookVerificationCode,
  WebhookVerificationError,
  verifyWebhook,
} from "./verify-webhook.ts"
