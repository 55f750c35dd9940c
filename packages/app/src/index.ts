export { bytes } from "./bytes.ts"
export { AppError, type AppErrorDetails } from "./app-error.ts"
export type { Media, MediaLimits, OutputFile, RunContext } from "./context.ts"
export {
  defineApp,
  type App,
  type AppTimeouts,
  type AppAuth,
  type AppDefinition,
  type AppEndpoint,
  type EndpointInfo,
  type JsonEndpoint,
  type RawEndpoint,
} from "./define-app.ts"
export { fetchMedia, type FetchMediaOptions } from "./fetch-media.ts"
export { integer } from "./integer.ts"
export {
  answerModelError,
  FieldError,
  isModelError,
  ModelError,
  type ModelErrorDetails,
} from "./model-error.ts"
export { writeJson } from "./json/write.ts"
export { openapiFor, type OpenApiDocument } from "./openapi/document.ts"
export type { RealtimeEndpoint, RealtimeOptions } from "./realtime/options.ts"
export { respondMessage, type AppMessage, type MessageAnswer } from "./realtime/respond-message.ts"
export { OutputError, respond, type AppAnswer, type AppCall } from "./respond.ts"
