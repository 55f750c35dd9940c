import { appHeaders, parseFlag, responseHeaders } from "@tintype/protocol"
import { doorPolicies } from "./door.ts"
import type { AttemptResult, RequestRecord } from "./request.ts"

/**
 * Which attempts are followed by another one, and when. Only the queue's door repeats (`doorPolicies`); a request
 * that waits for its next attempt keeps its turn.
 */

/** The first delay and the longest one. */
export interface RetryTiming {
  retryMinMs: number
  retryMaxMs: number
}

/**
 * The delay before the attempt that follows `attempts` counted ones: doubling from `retryMinMs` to `retryMaxMs`, between
 * half of it and all of it, so that those who failed together do not come back together. `random` is in [0, 1).
 */
export function backoffMs(timing: RetryTiming, attempts: number, random: number): number {
  const doublings = Math.min(Math.max(attempts, 1) - 1, 30)
  const ceilingMs = Math.min(timing.retryMaxMs, timing.retryMinMs * 2 ** doublings)
  return Math.round(ceilingMs * (0.5 + random / 2))
}

/** Counted or not: a request that never gets to its end must not go round for ever. */
export const attemptsTotalMax = 100

/** May another attempt follow, given how many of those made so far count? */
export function mayTryAgain(
  record: Pick<RequestRecord, "door" | "noRetry" | "attempts">,
  attemptsCounted: number,
): boolean {
  const attemptsMax = record.noRetry ? 1 : doorPolicies[record.door].attemptsMax
  return attemptsCounted < attemptsMax && record.attempts < attemptsTotalMax
}

/** Is it worth another attempt? What the app says in its answer goes before what its status suggests. */
export function isTransient(result: AttemptResult): boolean {
  if (result.kind === "failed") {
    return result.reason === "unknown_app" || result.reason === "timed_out"
  }
  const { status, headers } = result
  const asked =
    status >= 500 || status === 429 ? parseFlag(headers[responseHeaders.needsRetry]) : null
  return asked ?? (status === 503 || status === 504)
}

/** Does this answer end the runner that gave it? A 503 does, unless the app says otherwise. */
export function stopsRunner(status: number, headers: Record<string, string>): boolean {
  return parseFlag(headers[appHeaders.stopRunner]) ?? status === 503
}
