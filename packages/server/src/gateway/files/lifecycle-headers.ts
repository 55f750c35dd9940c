import {
  type FileLifecycle,
  LifecycleError,
  type ObjectLifecycle,
  parseLifecycle,
  settleLifecycle,
} from "../../domain/files/object-lifecycle.ts"
import { badRequest, RefusedError } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"

/** What uploads say of themselves; the JavaScript client sends the first, the Python client both. */
const headerNames = ["x-fal-object-lifecycle", "x-fal-object-lifecycle-preference"] as const

/** What will hold for the file that this call sends or announces. */
export function lifecycleOf({ parts }: Gateway, call: Call, account: FileLifecycle): FileLifecycle {
  const own = headerNames
    .map((name) => readLifecycleHeader(call, name))
    .find((found) => found !== null)
  return settleLifecycle(own ?? null, account, parts.config.retention.fileMs)
}

/** Null when the header is absent. Ignored, a malformed one would make public what was meant to be private: 400. */
export function readLifecycleHeader({ headers }: Call, name: string): ObjectLifecycle | null {
  const value = headers[name]
  return understood(name, () => parseLifecycle(Array.isArray(value) ? value.join(", ") : value))
}

/** What `read` answers; a `LifecycleError` of it is told as 400, with the name of what it was read from. */
export function understood<Found>(name: string, read: () => Found): Found {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof LifecycleError)) throw error
    throw new RefusedError(badRequest(`${name} is not valid: ${error.message}`))
  }
}
