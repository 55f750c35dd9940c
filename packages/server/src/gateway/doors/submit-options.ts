import { parseFlag, parseStartTimeout, requestHeaders, startTimeoutMsMin } from "@tintype/protocol"
import type { Door, Priority } from "../../domain/door.ts"
import type { ObjectLifecycle } from "../../domain/files/object-lifecycle.ts"
import { badRequest, RefusedError } from "../answer.ts"
import { readLifecycleHeader } from "../files/lifecycle-headers.ts"
import type { Call } from "../parts.ts"

/** What a caller may ask for beside the input. */
export interface SubmitOptions {
  priority: Priority
  noRetry: boolean
  startTimeoutMs: number | null
  storeIo: boolean
  lifecycle: ObjectLifecycle | null
  queueLengthMax: number | null
}

/**
 * Reads the options of a submit. One that cannot be understood is refused: a caller who asked for a deadline, for one attempt
 * or for nothing to be kept must not learn later that nobody listened. Only an unknown priority is the normal one, as documented.
 */
export function readSubmitOptions(call: Call, door: Door): SubmitOptions {
  return {
    priority: readPriority(call, door),
    noRetry: readFlag(call, requestHeaders.noRetry) === true,
    startTimeoutMs: readStartTimeout(call),
    storeIo: readFlag(call, requestHeaders.storeIo) !== false,
    lifecycle: readLifecycleHeader(call, requestHeaders.lifecyclePreference),
    queueLengthMax: readQueueLengthMax(call, door),
  }
}

/** Only the queue has priorities. */
function readPriority({ headers }: Call, door: Door): Priority {
  const asked = headers[requestHeaders.queuePriority]
  return door === "queue" && String(asked).trim().toLowerCase() === "low" ? "low" : "normal"
}

function readFlag({ headers }: Call, name: string): boolean | null {
  const given = headers[name]
  const flag = parseFlag(given)
  if (flag === null && given !== undefined && given !== "") {
    throw refused(`${name} must be 1 or 0`)
  }
  return flag
}

function readStartTimeout({ headers }: Call): number | null {
  const { startTimeout, requestTimeout } = requestHeaders
  const name = [startTimeout, requestTimeout].find((one) => headers[one] !== undefined)
  if (name === undefined) return null
  const timeoutMs = parseStartTimeout({ [name]: headers[name] })
  if (timeoutMs !== null) return timeoutMs
  throw refused(`${name} must be a number of seconds, at least ${startTimeoutMsMin / 1_000}`)
}

/** The store decides by it, in the transaction that would take the request. A run is not queued behind others. */
function readQueueLengthMax({ address: { query } }: Call, door: Door): number | null {
  const name = "fal_max_queue_length"
  const given = query.get(name)
  if (door !== "queue" || given === null || given === "") return null
  if (!/^\d{1,15}$/.test(given)) throw refused(`${name} must be a whole number, 0 or more`)
  return Number(given)
}

function refused(detail: string): RefusedError {
  return new RefusedError(badRequest(detail))
}
