import { modelErrorAnswer } from "@tintype/protocol"
import { badRequest, RefusedError } from "../answer.ts"
import { withPace } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"

/** The longest list of parts is 100 KB, and so is an ACL that nobody reads any more. */
const bodyBytesMax = 256 * 1024

/** A body that says what is to be done, whatever its type is said to be; an empty one is `{}`. Refused with 400 or 413. */
export async function readJsonBody(
  { parts }: Gateway,
  { raw }: Call,
): Promise<Record<string, unknown>> {
  const { timing, limits } = parts.config
  const pace = { graceMs: timing.bodyGraceMs, bytesPerSecondMin: limits.bodyBytesPerSecondMin }
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of withPace(raw, pace)) {
    bytes += chunk.byteLength
    if (bytes > bodyBytesMax) {
      const detail = `The body is larger than ${bodyBytesMax} bytes`
      throw new RefusedError(badRequest(detail, { status: 413 }))
    }
    chunks.push(chunk)
  }
  const parsed = bytes === 0 ? {} : parse(Buffer.concat(chunks).toString())
  if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return { ...parsed }
  throw new RefusedError(badRequest("The body must be a JSON object"))
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new RefusedError(badRequest("The body is not valid JSON"))
  }
}

/** A field of the query or of the body that is not what it should be, as the REST surface tells it, which FastAPI made. */
export function invalidField(
  loc: ["body" | "query", string],
  msg: string,
  { type, input }: { type: string; input: unknown },
): RefusedError {
  return new RefusedError(modelErrorAnswer([{ loc, msg, type, input }]))
}
