import { isTerminal } from "@tintype/protocol"
import { type Door, doorPolicies } from "./door.ts"
import type { RequestRecord } from "./request.ts"

/**
 * Which submits are the same call sent again. With a key its caller says so. Without one it is told from what happened: a
 * submit is *lost* when its answer cannot have arrived, and an identical one that follows soon is its blind re-send.
 * Whatever is open, named by its id in a call, or older is somebody's wish for another request.
 */

/** How a submit is recognised when it comes again; the hashes are SHA-256, in hex. */
export type SubmitIdentity =
  | { key: string; bodyHash: string }
  /** Of `fingerprintText`; its first 16 bytes do. And whether its caller repeats a call whose answer it did not get. */
  | { fingerprint: string; resendsBlindly: boolean }

export interface IdempotencySettings {
  /** How long a key stands for its first request. */
  keyTtlMs: number
  /** How long after the newest copy of a submit was lost an identical one is taken for its re-send. */
  resendWindowMs: number
  /** False: a submit without a key is always a new request. */
  detectLost: boolean
}

/** A call, with all that makes a difference to what it asks for. */
export interface SubmitFacts {
  account: string
  door: Door
  /** As called, `owner/alias[/path]`. */
  endpoint: string
  query: string
  bodyHash: string
  headers: Record<string, string | string[] | undefined>
}

/** What two copies of a call have in common and no two different calls do. */
export function fingerprintText(facts: SubmitFacts): string {
  const { account, door, endpoint, query, bodyHash, headers } = facts
  const options = Object.keys(headers)
    .filter((name) => /^x-(app-)?fal-/.test(name))
    .toSorted()
    .map((name) => [name, headers[name]])
  const type = headers["content-type"]
  return JSON.stringify([account, door, endpoint, query, bodyHash, type, options])
}

/** The key of a call, null when it has none, or what is wrong with it. */
export function readIdempotencyKey(
  headers: Record<string, string | string[] | undefined>,
  lengthMax: number,
): { key: string | null } | { problem: string } {
  const given = ["idempotency-key", "x-idempotency-key"]
    .flatMap((name) => headers[name] ?? [])
    .filter((key, index, all) => all.indexOf(key) === index)
  const [key = null, second] = given
  if (key === null) return { key }
  if (second !== undefined) {
    return { problem: "The headers name different idempotency keys" }
  }
  const wellFormed = key.length <= lengthMax && /^[\x20-\x7e]+$/.test(key)
  if (wellFormed) return { key }
  return { problem: `Idempotency-Key must be 1 to ${lengthMax} printable ASCII characters` }
}

/** What a key stands for already. */
export interface BoundKey {
  record: RequestRecord
  bodyHash: string
  boundAt: number
}

/**
 * What a call with this key is. `same`: the one that it is bound to, again. `other_body`: a mistake of its caller, who uses
 * one key for two calls. `new`: there is none, it has expired, or what it asked for was given up when its caller went away.
 */
export function judgeKey(
  bound: BoundKey | null,
  bodyHash: string,
  now: number,
  keyTtlMs: number,
): "new" | "same" | "other_body" {
  if (bound === null || now - bound.boundAt >= keyTtlMs || endedWithCaller(bound.record)) {
    return "new"
  }
  return bound.bodyHash === bodyHash ? "same" : "other_body"
}

/** It ended because its caller went away, or will. */
export function endedWithCaller({ state, outcome, cancelRequest }: RequestRecord): boolean {
  const cause = isTerminal(state) ? outcome?.errorType : cancelRequest?.cause
  return cause === "client_disconnected"
}

/** Is there something to be found again? A run that is not over ends with its caller instead. */
export function canBeLost(record: RequestRecord): boolean {
  const goesOn = !doorPolicies[record.door].endsWithCaller || isTerminal(record.state)
  return goesOn && !endedWithCaller(record)
}

/** May an identical submit get this request, whose newest copy was lost then? */
export function isFoundAgain(
  record: RequestRecord,
  lostAt: number,
  now: number,
  resendWindowMs: number,
): boolean {
  return now - lostAt <= resendWindowMs && canBeLost(record)
}

/** A connection that carried a submit and is closed. */
export interface ClosedConnection {
  /** Since the last byte of the answer was written; null when it never was. */
  answeredMs: number | null
  /** Another call came on it after the submit. */
  carriedMore: boolean
  /** One side had said that it ends with the answer. */
  endsWithAnswer: boolean
  /** Its caller's program repeats a call whose answer it did not get. */
  resendsBlindly: boolean
  /** A call has named the request by its id, so its answer did arrive. */
  named: boolean
  /** It is us who close connections, because the server stops. */
  stopping: boolean
}

/** An answer that was written arrives within this time, or its connection breaks within it. */
export const answerLossMs = 1_000

/** Was the submit lost that this connection carried? */
export function wasLost(closed: ClosedConnection): boolean {
  if (closed.named) return false
  if (closed.answeredMs === null) return true
  if (closed.carriedMore || closed.endsWithAnswer || closed.stopping) return false
  return closed.resendsBlindly && closed.answeredMs <= answerLossMs
}

/** The newest copy of a submit, as far as the store knows it. */
export interface NewestCopy {
  record: RequestRecord
  submittedAt: number
  resendsBlindly: boolean
}

/**
 * Does the submit count as lost, now that the server has died, at `diedAt` as far as is known? What was named is not asked
 * about. Of callers who do not repeat blindly only what was being answered in the last moment can be: equal submits of
 * theirs that were answered before are as many requests as they are. So with runs, which have their answer when they end.
 */
export function wasLostInCrash(
  { record, submittedAt, resendsBlindly }: NewestCopy,
  diedAt: number,
  resendWindowMs: number,
): boolean {
  if (!canBeLost(record)) return false
  if (!doorPolicies[record.door].endsWithCaller) {
    return diedAt - submittedAt <= (resendsBlindly ? resendWindowMs : answerLossMs)
  }
  return record.finishedAt !== null && diedAt - record.finishedAt <= answerLossMs
}
