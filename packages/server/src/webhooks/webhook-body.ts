import type { RequestRecord } from "../domain/request.ts"

/** The bytes of an output, or why there are none: it is larger than is sent along, or its payload is gone. */
export type WebhookOutput = Uint8Array | "too_large" | "missing"

/**
 * What a receiver is told, as captured from the hosted service: keys in alphabetical order, `", "` and `": "` between. The
 * output's own bytes stand in it as they are, so that integers beyond 2^53 survive.
 */
export function webhookBody(
  record: Pick<RequestRecord, "id" | "state" | "outcome">,
  output: WebhookOutput,
): Uint8Array {
  const succeeded = record.state === "succeeded"
  const error = succeeded ? null : `Invalid status code: ${record.outcome?.status ?? 500}`
  const objection = objectionTo(output)
  const payload = objection === null && output instanceof Uint8Array ? output : encode("null")
  const id = JSON.stringify(record.id)
  const remark = objection === null ? "" : `, "payload_error": ${JSON.stringify(objection)}`
  const status = succeeded ? "OK" : "ERROR"
  return Buffer.concat([
    encode(`{"error": ${JSON.stringify(error)}, "gateway_request_id": ${id}, "payload": `),
    payload,
    encode(`${remark}, "request_id": ${id}, "status": "${status}"}`),
  ])
}

/** Why the output cannot stand in a JSON text; null when it can. */
function objectionTo(output: WebhookOutput): string | null {
  if (output === "too_large") return "The output is too large to be sent along: fetch the result"
  if (output === "missing") return "The output is not kept any more"
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(output))
    return null
  } catch {
    return "The output is not JSON: fetch the result"
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
