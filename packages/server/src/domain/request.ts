import type { FailureReason, RequestState } from "@tintype/protocol"
import type { Door, Priority } from "./door.ts"

/** Bytes that the platform carries and never looks into: in the row up to 32 KiB, else a blob. */
export type Body = { inline: Uint8Array } | { blob: string; bytes: number }

/** What the caller gets: an HTTP answer, from the app or, with an `errorType`, from the platform. */
export interface Outcome {
  status: number
  headers: Record<string, string>
  body: Body
  /** Set on every outcome that is not a success; the `error` of a COMPLETED status. */
  error: string | null
  errorType: string | null
  /** How long the app worked, in milliseconds; null when it never answered. */
  inferenceMs: number | null
}

/** Why a caller's request should not go on. */
export type CancelCause = "client_cancelled" | "client_disconnected"

/** That a running request was asked to stop; durable, so that a lost attempt never runs again. */
export interface CancelRequest {
  at: number
  cause: CancelCause
}

/** The current attempt of a running request. Only the holder of `lease` may write its outcome. */
export interface Attempt {
  number: number
  lease: string
  session: string
  startedAt: number
}

/**
 * One call of an endpoint, without its bodies. A value: every transition returns a new one with
 * `version` + 1. Times are epoch milliseconds.
 */
export interface RequestRecord {
  id: string
  /** Order of arrival in the store, unique, rising. */
  sequence: number
  account: string
  door: Door
  /** `owner/alias` */
  app: string
  /** As called, `owner/alias[/path]`. */
  endpoint: string
  /** The app's own path, `/` or `/image-to-image`. */
  path: string
  priority: Priority
  /** Where its outcome is told to; null when nobody asked for that. */
  webhook: string | null
  turn: number
  state: RequestState
  /** Attempts made so far; the number of the current or last one. */
  attempts: number
  /** Of these, the ones that count against the door's `attemptsMax`. */
  attemptsCounted: number
  attempt: Attempt | null
  cancelRequest: CancelRequest | null
  /** The caller wants one attempt, whatever its door allows. */
  noRetry: boolean
  /** A queued request that waits out its backoff is not started before; it keeps its place meanwhile. */
  notBefore: number | null
  /** An attempt that has not started by then never starts; the caller's own deadline. */
  startDeadline: number | null
  submittedAt: number
  finishedAt: number | null
  outcome: Omit<Outcome, "body"> | null
  version: number
}

/** A call that a door has taken and the store has not seen yet. */
export interface NewRequest {
  id: string
  account: string
  /** Id of the key that it is made with, whose own limits count too; none in open mode. */
  key?: string | null
  door: Door
  app: string
  endpoint: string
  path: string
  priority: Priority
  /** An absolute http(s) URL that is to be told of the outcome. */
  webhook?: string | null
  input: Body
  /** Headers that the app may see. */
  headers: Record<string, string>
  fileBase: string
  /** One attempt only. */
  noRetry?: boolean
  /** How long after now it must have started. */
  startTimeoutMs?: number | null
  /** Not taken when more than this many of its app are queued. */
  queueLengthMax?: number | null
}

/** What the runner says of an attempt. */
export type AttemptResult =
  | {
      kind: "answered"
      status: number
      headers: Record<string, string>
      body: Body
      inferenceMs: number
    }
  | { kind: "failed"; reason: FailureReason; detail: string; inferenceMs: number }

/** `removed`: was queued. `requested`: runs, its holder must be told. `finished`: succeeded or failed before. */
export type CancelVerdict = "removed" | "requested" | "already_cancelled" | "finished"
