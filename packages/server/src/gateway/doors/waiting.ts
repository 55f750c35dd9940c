import { isTerminal, responseHeaders } from "@tintype/protocol"
import { doorPolicies } from "../../domain/door.ts"
import type { RequestRecord } from "../../domain/request.ts"
import type { Answer } from "../answer.ts"
import type { TakenRequest } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { answerKeptOutcome, answerOutcome } from "./outcome.ts"

/** The answer of a call that waits on the line: its request's outcome, as soon as there is one. */
export async function answerTaken(
  gateway: Gateway,
  call: Call,
  taken: TakenRequest,
  gone: AbortSignal,
): Promise<Answer> {
  const ended = await waitForOutcome(gateway, taken, gone)
  // What had ended before this call, which repeats another, is there as long as its result is kept.
  const answerEnd = isTerminal(taken.record.state) ? answerKeptOutcome : answerOutcome
  const answer = await answerEnd(gateway, call, ended)
  if (taken.resubmission) answer.headers[responseHeaders.resubmission] = "1"
  return answer
}

/**
 * Waits as long as its caller does. A request that nobody waits for is cancelled; one with a key when nobody comes back for
 * it.
 */
async function waitForOutcome(
  gateway: Gateway,
  { record, keyed }: TakenRequest,
  gone: AbortSignal,
): Promise<RequestRecord> {
  const { repeats, parts } = gateway
  const { id } = record
  // By its key a request of the queue can be waited for as well: it goes on without its callers.
  const { endsWithCaller } = doorPolicies[record.door]
  const abandon = async () => (endsWithCaller ? await cancelAbandoned(gateway, id) : null)
  const onError = (error: unknown) => parts.log({ event: "error", requestId: id, error })
  let isAnswered = false
  if (keyed) repeats.keyedRuns.enter(id)
  try {
    const latest = await parts.snapshots.untilTerminal(id, { signal: gone })
    isAnswered = latest !== null && isTerminal(latest.state)
    if (latest !== null && isAnswered) return latest
  } finally {
    const later = isAnswered ? null : () => void abandon().catch(onError)
    if (keyed) repeats.keyedRuns.leave(id, later)
  }
  const ended = keyed ? null : await abandon()
  if (ended !== null) return ended
  // Nobody reads this answer: the connection is closed. The record of a running request has no outcome yet.
  const outcome = {
    status: 499,
    headers: {},
    error: "The caller went away",
    errorType: "client_disconnected",
    inferenceMs: null,
  }
  return { ...record, outcome }
}

/** Resolves to the request when it has ended by that, or before. */
async function cancelAbandoned({ parts }: Gateway, id: string): Promise<RequestRecord | null> {
  const { store, hints } = parts
  const { result, request } = await store.cancel({ id, cause: "client_disconnected" })
  if (result === "requested") hints.cancel(id, "client_disconnected")
  return request !== null && isTerminal(request.state) ? request : null
}
