import assert from "node:assert/strict"
import {
  isTerminal,
  type PlatformErrorType,
  type RequestState,
  responseHeaders,
} from "@tintype/protocol"
import { doorPolicies } from "./door.ts"
import { isTransient, mayTryAgain } from "./retry.ts"
import { answeredOutcome, isSuccess, platformOutcome, repeatable } from "./outcome.ts"
import type {
  AttemptResult,
  Body,
  CancelCause,
  CancelVerdict,
  NewRequest,
  Outcome,
  RequestRecord,
  RequeuedAttempt,
  RequeueReason,
} from "./request.ts"
import type { Place } from "./turn.ts"

/**
 * Every transition of a request, as pure functions: what it becomes is decided here, stores only persist it.
 *
 *                         ┌─────── attempt lost, stopped or transient, another allowed ──────┐
 *                         ▼                                                                 │
 *   enqueue ──────────▶ queued ─────────────────── startAttempt ───────────────────────▶ running
 *                         │                                                                 │
 *      cancel, failQueued,│                               answered, failed, lost for good,  │
 *      start deadline,    │                                                                 │
 *      restart (run door) ▼                               cancelled                         ▼
 *                         └──────────────▶ succeeded | failed | cancelled ◀─────────────────┘
 *
 * Terminal is final. A lost attempt of a request that was asked to stop ends it cancelled: it never runs again.
 */
export interface Transition {
  record: RequestRecord
  /** The body of the outcome, on a transition to a terminal state. */
  output: Body | null
  /** What the gateway adds to the request's log; only ever the last word on an attempt. */
  note: string | null
  /** The attempt that ended, on a transition back to the queue; the last one of a request stands in its row. */
  requeued: RequeuedAttempt | null
}

/** A new request, queued at its place. */
export function enqueue(request: NewRequest, place: Place, now: number): RequestRecord {
  return {
    id: request.id,
    sequence: place.sequence,
    account: request.account,
    door: request.door,
    app: request.app,
    endpoint: request.endpoint,
    path: request.path,
    priority: request.priority,
    webhook: request.webhook ?? null,
    turn: place.turn,
    state: "queued",
    attempts: 0,
    attemptsCounted: 0,
    attempt: null,
    cancelRequest: null,
    noRetry: request.noRetry ?? false,
    notBefore: null,
    startDeadline: typeof request.startTimeoutMs === "number" ? now + request.startTimeoutMs : null,
    storeIo: request.storeIo ?? true,
    lifecycle: request.lifecycle ?? null,
    submittedAt: now,
    finishedAt: null,
    outcome: null,
    version: 1,
  }
}

/** The next attempt, under a fresh lease. */
export function startAttempt(
  record: RequestRecord,
  holder: { lease: string; session: string },
  now: number,
): RequestRecord {
  assert.equal(record.state, "queued")
  const number = record.attempts + 1
  return {
    ...record,
    state: "running",
    attempts: number,
    attemptsCounted: record.attemptsCounted + 1,
    attempt: { number, ...holder, startedAt: now },
    notBefore: null,
    version: record.version + 1,
  }
}

/** The runner's word on a running attempt. `delayMs`: how long another one would have to wait. */
export function concludeAttempt(
  record: RequestRecord,
  result: AttemptResult,
  now: number,
  delayMs = 0,
): Transition {
  assert.equal(record.state, "running")
  if (isTransient(result)) {
    if (record.cancelRequest !== null) {
      return cancelled(record, record.cancelRequest.cause, now, result.inferenceMs)
    }
    if (mayTryAgain(record, record.attemptsCounted)) {
      return tryAgain(record, record.attemptsCounted, endOf(result), now, delayMs)
    }
  }
  if (result.kind === "answered") {
    const answer = answeredOutcome(result)
    const isCallersToRepeat = doorPolicies[record.door].attemptsMax === 1 && isTransient(result)
    const outcome = isCallersToRepeat ? repeatable(answer) : answer
    return finish(record, isSuccess(outcome.status) ? "succeeded" : "failed", outcome, now)
  }
  if (result.reason === "aborted") {
    // An abort that nobody asked for is the runner's own end, not the app's.
    return record.cancelRequest === null
      ? endAttempt(record, "stopped", now)
      : cancelled(record, record.cancelRequest.cause, now, result.inferenceMs)
  }
  return failed(record, failureTypes[result.reason], now, result)
}

const failureTypes = {
  exception: "runner_server_error",
  incomplete_response: "runner_incomplete_response",
  timed_out: "request_timeout",
  unknown_app: "runner_disconnected",
} as const

/** How an attempt ended that is followed by another one. */
type AttemptEnd = Pick<RequeuedAttempt, "reason" | "status" | "errorType">

function endOf(result: AttemptResult): AttemptEnd {
  if (result.kind === "answered") {
    const { status, errorType } = answeredOutcome(result)
    return { reason: "transient", status, errorType }
  }
  const timedOut = result.reason === "timed_out"
  const errorType = timedOut ? failureTypes.timed_out : failureTypes.unknown_app
  return { reason: timedOut ? "timed_out" : "unhosted", status: null, errorType }
}

/**
 * The attempt will never be concluded. `lost`: its runner died or was cut off for too long. `stopped`: our own
 * shutdown ended it, so it does not count.
 */
export function endAttempt(
  record: RequestRecord,
  cause: "lost" | "stopped",
  now: number,
  delayMs = 0,
): Transition {
  assert.equal(record.state, "running")
  if (record.cancelRequest !== null) return cancelled(record, record.cancelRequest.cause, now)
  const stopped = cause === "stopped"
  if (stopped && !doorPolicies[record.door].survivesRestart) {
    return failed(record, "server_stopping", now)
  }
  const attemptsCounted = record.attemptsCounted - (stopped ? 1 : 0)
  if (!mayTryAgain(record, attemptsCounted)) return failed(record, "runner_disconnected", now)
  const errorType = stopped ? "server_stopping" : "runner_disconnected"
  const end = { reason: cause, status: null, errorType }
  return tryAgain(record, attemptsCounted, end, now, stopped ? 0 : delayMs)
}

/** Back to its old place in the queue, for an attempt that starts `delayMs` from now at the earliest. */
function tryAgain(
  record: RequestRecord,
  attemptsCounted: number,
  end: AttemptEnd,
  now: number,
  delayMs: number,
): Transition {
  const { attempt } = record
  assert.ok(attempt)
  const { number, session, startedAt } = attempt
  const why = end.status === null ? endings[end.reason] : `${endings[end.reason]} ${end.status}`
  const wait = delayMs > 0 ? `, tried again in ${(delayMs / 1_000).toFixed(1)} s` : ""
  return {
    record: {
      ...record,
      state: "queued",
      attempt: null,
      attemptsCounted,
      notBefore: delayMs > 0 ? now + delayMs : null,
      version: record.version + 1,
    },
    output: null,
    note: `Attempt ${number} ended: ${why}; back in the queue${wait}`,
    requeued: { number, session, startedAt, endedAt: now, ...end },
  }
}

const endings: Record<RequeueReason, string> = {
  lost: "the runner was lost",
  stopped: "the server stopped",
  timed_out: "it took too long",
  unhosted: "its runner does not host the app",
  transient: "the app answered with status",
}

/** Removes a queued request; asks a running one to stop, once and durably. */
export function requestCancel(
  record: RequestRecord,
  cause: CancelCause,
  now: number,
): { verdict: CancelVerdict; transition: Transition | null } {
  if (record.state === "cancelled") return { verdict: "already_cancelled", transition: null }
  if (isTerminal(record.state)) return { verdict: "finished", transition: null }
  if (record.state === "queued") {
    return { verdict: "removed", transition: cancelled(record, cause, now) }
  }
  if (record.cancelRequest !== null) return { verdict: "requested", transition: null }
  return {
    verdict: "requested",
    transition: {
      record: { ...record, cancelRequest: { at: now, cause }, version: record.version + 1 },
      output: null,
      note: null,
      requeued: null,
    },
  }
}

/** Ends a request that never found a runner. Null when it is not queued any more. */
export function failQueued(
  record: RequestRecord,
  type: "runner_scheduling_failure" | "startup_timeout",
  now: number,
): Transition | null {
  return record.state === "queued" ? failed(record, type, now) : null
}

/** Ends a queued request whose start deadline has passed. Null: it may start still, or has. */
export function endAtStartDeadline(record: RequestRecord, now: number): Transition | null {
  const { state, startDeadline, submittedAt } = record
  if (state !== "queued" || startDeadline === null || now < startDeadline) return null
  const seconds = (startDeadline - submittedAt) / 1_000
  const detail = `The request did not start within ${seconds} s`
  const outcome = platformOutcome("startup_timeout", record.id, detail)
  // The mark by which clients know that nobody should repeat it.
  const headers = { ...outcome.headers, [responseHeaders.requestTimeoutType]: "user" }
  return finish(record, "failed", { ...outcome, headers }, now)
}

/** What a start of the server does to a request that an earlier life left open. Null: it goes on. */
export function endAtRestart(record: RequestRecord, now: number): Transition | null {
  if (isTerminal(record.state) || doorPolicies[record.door].survivesRestart) return null
  return cancelled(record, "client_disconnected", now)
}

function failed(
  record: RequestRecord,
  type: PlatformErrorType,
  now: number,
  result?: { inferenceMs: number },
): Transition {
  const outcome = platformOutcome(type, record.id, undefined, result?.inferenceMs ?? null)
  return finish(record, "failed", outcome, now)
}

function cancelled(
  record: RequestRecord,
  cause: CancelCause,
  now: number,
  inferenceMs: number | null = null,
): Transition {
  const outcome = platformOutcome(cause, record.id, undefined, inferenceMs)
  return finish(record, "cancelled", outcome, now)
}

function finish(
  record: RequestRecord,
  state: Extract<RequestState, "succeeded" | "failed" | "cancelled">,
  outcome: Outcome,
  now: number,
): Transition {
  const { body, ...head } = outcome
  return {
    record: {
      ...record,
      state,
      attempt: null,
      notBefore: null,
      finishedAt: now,
      outcome: head,
      version: record.version + 1,
    },
    output: body,
    note: null,
    requeued: null,
  }
}
