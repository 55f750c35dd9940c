export {
  type EndpointId,
  type EndpointNamespace,
  type QueuePath,
  type RequestAction,
  endpointIdLengthMax,
  formatEndpointId,
  parseEndpointId,
  parseQueuePath,
} from "./endpoint-id.ts"
export {
  type ErrorAnswer,
  PlatformError,
  type PlatformErrorEntry,
  type PlatformErrorExtra,
  type PlatformErrorType,
  isPlatformErrorType,
  ownPlatformErrorTypes,
  platformErrorAnswer,
  platformErrors,
} from "./errors.ts"
export {
  allowedFromApp,
  appHeaders,
  parseFlag,
  parsePrefer,
  parseStartTimeout,
  preferWaitMax,
  requestHeaders,
  responseHeaders,
  strippedFromCaller,
} from "./headers.ts"
export {
  type Surface,
  findForeignSurface,
  foreignHosts,
  hostPrefixes,
  reservedSegments,
  strippedPrefixes,
} from "./hosts.ts"
export {
  type Frame,
  decodeGatewayFrames,
  decodeRunnerFrames,
  encodeFrames,
  linkInlineBytesMax,
} from "./link-codec.ts"
export { LinkProtocolError } from "./link-frames.ts"
export {
  type AcceptedFrame,
  type AssignFrame,
  type AttemptEvent,
  type CancelFrame,
  type CancelReason,
  type CreditFrame,
  type DoneFrame,
  type DrainFrame,
  type EventFrame,
  type ExitFrame,
  type FailedFrame,
  type FailureReason,
  type GatewayFrame,
  type HeldAttempt,
  type HelloFrame,
  type LogLevel,
  type PingFrame,
  type PongFrame,
  type RetireFrame,
  type RunnerFrame,
  type SettledFrame,
  type StoredFrame,
  type WelcomeFrame,
  linkMessageBytesMax,
  linkVersion,
} from "./link.ts"
export {
  type ModelErrorEntry,
  type ModelErrorItem,
  type ModelErrorType,
  isModelErrorType,
  modelErrorAnswer,
  modelErrorUrl,
  modelErrors,
} from "./model-errors.ts"
export { nearest } from "./nearest.ts"
export {
  type RequestState,
  type WireStatus,
  isTerminal,
  requestStates,
  toWireStatus,
} from "./request-state.ts"
export {
  type SignedWebhook,
  type WebhookKey,
  type WebhookKeyPair,
  type WebhookKeySet,
  isSignedWebhook,
  makeWebhookKey,
  signWebhook,
  webhookHeaders,
  webhookMessage,
  webhookToleranceSeconds,
} from "./webhook/webhook-signature.ts"
