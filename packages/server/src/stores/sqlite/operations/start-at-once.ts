import { enqueue, startAttempt } from "../../../domain/transitions.ts"
import type { Claim, ClaimOrder, NewRequest } from "../../../store.ts"
import type { EngineContext } from "../engine.ts"
import { noPool } from "./pools.ts"

/**
 * A submit and the claim behind it, which takes what was submitted as nothing else is queued: one row is written, as it is
 * after both, instead of one that goes into the queue's indexes and out of them again. Null, with nothing done: they are not of that kind.
 */
export function startAtOnce(
  { requests, repeats, lanes, pools, sessions, now }: EngineContext,
  request: NewRequest,
  { session, apps, leases }: ClaimOrder,
): Claim | null {
  const [lease] = leases
  const isAlone = leases.length === 1 && apps.length === 1 && apps[0] === request.app
  if (lease === undefined || !isAlone || requests.queueLength(request.app) > 0) return null
  if (pools.poolOf(request) !== noPool || !sessions.isOpen(session)) return null
  if (repeats.mayRepeat(request, now())) return null
  const place = { sequence: requests.takeSequence(), turn: lanes.take(request) }
  const started = startAttempt(enqueue(request, place, now()), { lease, session }, now())
  requests.insertStarted(started, request)
  lanes.start(started)
  if (request.identity !== undefined) repeats.bind(started, request.identity, now())
  const { input, headers, fileBase } = request
  return { request: started, input, headers, fileBase, logBytes: 0 }
}
