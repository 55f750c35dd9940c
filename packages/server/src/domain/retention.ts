import { isTerminal } from "@tintype/protocol"
import type { RequestRecord } from "./request.ts"

/**
 * How long what a request leaves behind is kept, as pure functions: its input, its result, and the whole of it.
 *
 *   ends ──▶ all of it ── inputMs ──▶ no input ── resultMs ──▶ its status only ── requestMs ──▶ unknown
 *
 * Time counts from the end of the request, so that nothing is ever taken from one that has not ended. What still has to
 * be sent to a webhook stays until then, whatever its time: a store leaves requests alone that owe a delivery.
 */
export interface RetentionPolicy {
  /** 0 is for ever; of the others, as long as the request, or as long as the result of a stored one. */
  requestMs: number
  inputMs: number
  resultMs: number
  unstoredResultMs: number
  unstoredLargeResultMs: number
}

/** What is still there of an ended request, and what of it decides how long. */
export interface Leftovers {
  /** False: its caller asked with `X-Fal-Store-IO: 0` that payloads are not kept. */
  storeIo: boolean
  input: boolean
  result: boolean
  /** An unstored result of `largeResultBytes` or more; how large a stored one is makes no difference. */
  large: boolean
}

/** One slice of removing what is past its time. */
export interface PruneOrder {
  policy: RetentionPolicy
  /** It ends after so many rows, and after so long, whatever comes first, but never before it has removed anything. */
  rowsMax: number
  budgetMs: number
}

/** What a slice has removed. */
export interface Pruned {
  /** Requests, whole. */
  requests: number
  /** Payloads of requests that remain. */
  inputs: number
  results: number
  files: number
  /** That were given up. */
  uploads: number
  /** What the removed rows named and no row names any more: to be deleted by whoever pruned. */
  blobs: string[]
  /** There is more to remove now. */
  more: boolean
}

/** From here on an unstored result goes sooner. */
export const largeResultBytes = 10 * 1024

/** What is there of a request when it ends. `resultBytes` is null when it ends without a body. */
export function leftoversAtEnd(storeIo: boolean, resultBytes: number | null): Leftovers {
  return {
    storeIo,
    input: true,
    result: resultBytes !== null,
    large: isLarge(storeIo, resultBytes ?? 0),
  }
}

/** How long after a request's end something of it is to be taken; infinite when it all stays. */
export function nextDueMs(left: Leftovers, policy: RetentionPolicy): number {
  const { input, result, request } = keptMs(left, policy)
  return Math.min(request, left.input ? input : Infinity, left.result ? result : Infinity)
}

/** What is still to be there `ageMs` after the request's end; null: nothing, not even that there was one. */
export function leftoversAt(
  left: Leftovers,
  ageMs: number,
  policy: RetentionPolicy,
): Leftovers | null {
  const { input, result, request } = keptMs(left, policy)
  if (ageMs >= request) return null
  return { ...left, input: left.input && ageMs < input, result: left.result && ageMs < result }
}

/** Is a request so old that its id is unknown, whether or not its row was removed already? */
export function isForgotten(
  { state, finishedAt }: Pick<RequestRecord, "state" | "finishedAt">,
  policy: Pick<RetentionPolicy, "requestMs">,
  now: number,
): boolean {
  return isTerminal(state) && finishedAt !== null && now - finishedAt >= limit(policy.requestMs)
}

/** Is the result of an ended request past its time, whether or not it was removed already? */
export function isResultForgotten(
  { finishedAt, storeIo }: Pick<RequestRecord, "finishedAt" | "storeIo">,
  resultBytes: number,
  policy: RetentionPolicy,
  now: number,
): boolean {
  const { result } = keptMs({ storeIo, large: isLarge(storeIo, resultBytes) }, policy)
  return finishedAt !== null && now - finishedAt >= result
}

function keptMs(
  { storeIo, large }: Pick<Leftovers, "storeIo" | "large">,
  policy: RetentionPolicy,
): Record<"input" | "result" | "request", number> {
  const request = limit(policy.requestMs)
  const unstored = large ? policy.unstoredLargeResultMs : policy.unstoredResultMs
  return {
    request,
    input: storeIo ? Math.min(request, limit(policy.inputMs)) : 0,
    result: Math.min(request, limit(policy.resultMs), storeIo ? Infinity : limit(unstored)),
  }
}

function isLarge(storeIo: boolean, resultBytes: number): boolean {
  return !storeIo && resultBytes >= largeResultBytes
}

/** Zero sets no limit. */
function limit(ms: number): number {
  return ms === 0 ? Infinity : ms
}
