import { hash } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"
import {
  fingerprintText,
  readIdempotencyKey,
  type SubmitIdentity,
} from "../../domain/idempotency.ts"
import type { Door } from "../../domain/door.ts"
import { badRequest, RefusedError } from "../answer.ts"
import type { Call } from "../parts.ts"

/** So many hex digits tell apart what is lost within a minute: 128 bits. */
const fingerprintDigits = 32

/** The idempotency key of a call; null when it has none. Throws a refusal for one that is malformed. */
export function keyOf({ raw, headers }: Call, lengthMax: number): string | null {
  if ((headers["idempotency-key"] ?? headers["x-idempotency-key"]) === undefined) return null
  // Two headers of one name are two keys; `headers` would have them as one text.
  const read = readIdempotencyKey(raw.headersDistinct, lengthMax)
  if ("problem" in read) throw new RefusedError(badRequest(read.problem))
  return read.key
}

/** Is the caller a program that repeats a call whose answer it did not get? */
export function isBlindResender(
  { "user-agent": agent = "" }: IncomingHttpHeaders,
  blindResenders: string[],
): boolean {
  return blindResenders.some((one) => agent.startsWith(one))
}

interface Submitted {
  key: string | null
  door: Door
  endpoint: string
  bodyHash: string
}

/** By what a call is recognised when it comes again: its key, else what it says. */
export function identityOf(
  call: Call,
  { key, door, endpoint, bodyHash }: Submitted,
  blindResenders: string[],
): SubmitIdentity {
  if (key !== null) return { key, bodyHash }
  const { account, headers, address } = call
  const query = address.query.toString()
  const text = fingerprintText({ account, door, endpoint, query, bodyHash, headers })
  return {
    fingerprint: hash("sha256", text).slice(0, fingerprintDigits),
    resendsBlindly: isBlindResender(headers, blindResenders),
  }
}
