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
  turn: number
  state: RequestState
  /** Attempts made so far; the number of the current or last one. */
  attempts: number
  /** Of these, the ones that count against the door's `attemptsMax`. */
  attemptsCounted: number
  attempt: Attempt | null
  cancelRequest: CancelRequest | null
  submittedAt: number
  finishedAt: number | null
  outcome: Omit<Outcome, "body"> | null
  version: number
}

/** A call that a door has taken and the store has not seen yet. */
export interface NewRequest {
  id: string
  account: string
  door: Door
  app: string
  endpoint: string
  path: string
  priority: Priority
  input: Body
  /** Headers that the app may see. */
  headers: Record<string, string>
  fileBase: string
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
