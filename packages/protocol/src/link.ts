/**
 * The frames between a runner and the gateway. What they mean, and who may send which when,
 * is in docs/link.md; this module holds their shapes and nothing else.
 */

export const linkVersion = 1

/** Largest message on the link. A body that does not fit goes through `/_/transfer`. */
export const linkMessageBytesMax = 256 * 1024

export interface HeldAttempt {
  lease: string
  attempt: number
  /** The seq that the attempt's next event will have. */
  nextSeq: number
}

export interface HelloFrame {
  type: "hello"
  version: number
  session: string
  runner: { pid: number; startedAt: string; build: string }
  slots: number
  /** App ids, `owner/alias`. */
  apps: string[]
  held: HeldAttempt[]
  /** Leases whose outcome is ready and not settled. */
  unacked: string[]
}

export interface CreditFrame {
  type: "credit"
  count: number
}

export interface AcceptedFrame {
  type: "accepted"
  lease: string
}

export type LogLevel = "STDERR" | "STDOUT" | "ERROR" | "INFO" | "WARN" | "DEBUG"

/** What an attempt says while it runs. `at` is epoch milliseconds. */
export type AttemptEvent =
  | {
      seq: number
      at: number
      kind: "log"
      level: LogLevel
      message: string
      labels?: Record<string, string>
    }
  | { seq: number; at: number; kind: "progress"; step: number; steps: number }
  | { seq: number; at: number; kind: "chunk"; data: string }

export interface EventFrame {
  type: "event"
  lease: string
  event: AttemptEvent
}

export interface DoneFrame {
  type: "done"
  lease: string
  status: number
  headers: Record<string, string>
  /** Null when the body was put to `/_/transfer/{lease}/output` before. */
  body: Uint8Array | null
  inferenceMs: number
}

/** Why an attempt gave no answer. `lost` is never sent: it is the gateway's own finding. */
export type FailureReason =
  | "exception"
  | "aborted"
  | "incomplete_response"
  | "unknown_app"
  /** The app worked for longer than `assign.timeoutMs`. */
  | "timed_out"

export interface FailedFrame {
  type: "failed"
  lease: string
  reason: FailureReason
  detail: string
  inferenceMs: number
}

/** The runner wants to be replaced: an app does not end when it is told to. */
export interface RetireFrame {
  type: "retire"
  why: string
}

export interface PongFrame {
  type: "pong"
  at: number
}

export type RunnerFrame =
  | HelloFrame
  | CreditFrame
  | AcceptedFrame
  | EventFrame
  | DoneFrame
  | FailedFrame
  | RetireFrame
  | PongFrame

export interface WelcomeFrame {
  type: "welcome"
  keep: { lease: string; storedSeq: number }[]
  abandon: string[]
  orphanMs: number
}

export interface AssignFrame {
  type: "assign"
  lease: string
  attempt: number
  requestId: string
  app: string
  /** The full id as called, `owner/alias[/path]`. */
  endpoint: string
  /** The app's own path, `/` or `/image-to-image`. */
  path: string
  /** Null when it must be fetched from `/_/transfer/{lease}/input`. */
  input: Uint8Array | null
  inputBytes: number
  headers: Record<string, string>
  /** Where outputs will be read: `context.file()` returns `${fileBase}/${name}`. */
  fileBase: string
  logBytesMax: number
  /** How long the app may work. */
  timeoutMs: number
}

export interface StoredFrame {
  type: "stored"
  lease: string
  seq: number
}

export interface SettledFrame {
  type: "settled"
  lease: string
  result: "settled" | "repeated" | "stale"
}

export type CancelReason = "client_cancelled" | "client_disconnected" | "server_stopping"

export interface CancelFrame {
  type: "cancel"
  lease: string
  reason: CancelReason
}

export interface DrainFrame {
  type: "drain"
  deadlineMs: number
}

export interface ExitFrame {
  type: "exit"
}

export interface PingFrame {
  type: "ping"
  at: number
}

export type GatewayFrame =
  | WelcomeFrame
  | AssignFrame
  | StoredFrame
  | SettledFrame
  | CancelFrame
  | DrainFrame
  | ExitFrame
  | PingFrame
