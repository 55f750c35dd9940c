import type { FailureReason, RequestState } from "@tintype/protocol"
import type { Door, Priority } from "./door.ts"
import type { SubmitIdentity } from "./idempotency.ts"
import type { ObjectLifecycle } from "./files/object-lifecycle.ts"

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
 * Why an attempt ended without ending its request. `lost`: its runner died or was cut off for too long. `stopped`: our own
 * shutdown, or its runner's, ended it. `timed_out`: the app took too long. `unhosted`: its runner does not host the app.
 * `transient`: the app answered with a status that is worth another attempt.
 */
export const requeueReasons = ["lost", "stopped", "timed_out", "unhosted", "transient"] as const
export type RequeueReason = (typeof requeueReasons)[number]

/** An attempt after which its request went back to the queue. */
export interface RequeuedAttempt {
  number: number
  session: string
  startedAt: number
  endedAt: number
  reason: RequeueReason
  /** What the app answered; null when it did not. */
  status: number | null
  /** What the request would have failed with, had this been its last attempt. */
  errorType: Outcome["errorType"]
}

/** An attempt of a request as history knows it. */
export interface AttemptRecord {
  number: number
  session: string
  /** Who made it; null when its session ended too long ago to be remembered. */
  runner: AttemptRunner | null
  startedAt: number
  /** Null: it runs. */
  endedAt: number | null
  /** Why the request went back to the queue; null for its last attempt, of which the request itself tells. */
  requeued: Pick<RequeuedAttempt, "reason" | "status" | "errorType"> | null
}

export interface AttemptRunner {
  pid: number
  build: string
  /** When its session began; null in the row of an older build. */
  openedAt: number | null
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
  /** False: its payloads are not kept when it has ended; see `domain/retention.ts`. */
  storeIo: boolean
  /** Of the files that its app makes. */
  lifecycle: ObjectLifecycle | null
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
  /** False: its payloads are not kept when it has ended. */
  storeIo?: boolean
  /** Of the files that its app makes; null: as the configuration says. */
  lifecycle?: ObjectLifecycle | null
  /** By which it is recognised when it comes again; absent: it never is. */
  identity?: SubmitIdentity
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
