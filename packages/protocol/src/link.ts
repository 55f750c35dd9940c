import type { MessageForm } from "./realtime/message.ts"

/**
 * The frames between a runner and the gateway. What they mean, and who may send which when,
 * is in docs/link.md; this module holds their shapes and nothing else.
 */

export const linkVersion = 1

/** Largest message on the link. A body that does not fit goes through `/_/transfer`. */
export const linkMessageBytesMax = 256 * 1024

/** Largest frame; above a message it travels in parts. */
export const linkFrameBytesMax = 16 * 1024 * 1024

/** Largest chunk of an answer's stream. */
export const linkChunkBytesMax = 4 * 1024 * 1024

/** What a chunk counts beside its own bytes. */
export const linkChunkOverheadBytes = 128

/** What a runner has said of an attempt's chunks and was not told to be taken; more breaks the protocol. */
export const linkUntakenBytesMax = 8 * 1024 * 1024

/** Largest message of a channel: what else its frame says takes far less. */
export const channelMessageBytesMax = linkFrameBytesMax - 64 * 1024

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

export interface EventFrame {
  type: "event"
  lease: string
  event: AttemptEvent
}

/** A piece of the answer for whoever reads along. It is not an event: nothing of it is stored. */
export interface ChunkFrame {
  type: "chunk"
  lease: string
  /** Counts the attempt's chunks, from 1. */
  seq: number
  /** JSON. */
  data: Uint8Array
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

/** What a channel's app answered to its input, or what was wrong with it. */
export interface OutputFrame {
  type: "output"
  channel: string
  form: MessageForm
  data: Uint8Array
}

/** The runner has done with a channel: its app failed, or the gateway wanted it to end. */
export interface ClosedFrame {
  type: "closed"
  channel: string
  /** For the caller's WebSocket. */
  code: number
  reason: string
}

/** A piece of a message that is too large to travel whole, in either direction; only the codec sees it. */
export interface PartFrame {
  type: "part"
  bytes: Uint8Array
  isLast: boolean
}

export type RunnerFrame =
  | HelloFrame
  | CreditFrame
  | AcceptedFrame
  | EventFrame
  | ChunkFrame
  | DoneFrame
  | FailedFrame
  | RetireFrame
  | PongFrame
  | OutputFrame
  | ClosedFrame

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
  /** Somebody may read along: chunks are wanted. */
  streams: boolean
}

export interface StoredFrame {
  type: "stored"
  lease: string
  seq: number
}

/** The reader has the chunks up to and including `seq`, or there is none. */
export interface TakenFrame {
  type: "taken"
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

/** A caller's realtime connection to an app; it lives no longer than this link. */
export interface OpenFrame {
  type: "open"
  channel: string
  app: string
  /** Without its `/realtime`. */
  endpoint: string
  path: string
  headers: Record<string, string>
  /** URLs that begin with it are files of the server, as far as this caller knows. */
  fileBase: string
  /** The slot that its first input takes is the channel's until it ends. */
  exclusive: boolean
  /** How long the app may work on one input. */
  timeoutMs: number
}

/** One message of the caller; spends a credit. */
export interface InputFrame {
  type: "input"
  channel: string
  form: MessageForm
  data: Uint8Array
}

export interface CloseFrame {
  type: "close"
  channel: string
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
  | TakenFrame
  | SettledFrame
  | CancelFrame
  | OpenFrame
  | InputFrame
  | CloseFrame
  | DrainFrame
  | ExitFrame
  | PingFrame
