import { isTerminal, parsePrefer, responseHeaders } from "@tintype/protocol"
import type { Body, RequestRecord } from "../../domain/request.ts"
import { isResultForgotten } from "../../domain/retention.ts"
import { type Answer, overloaded, RefusedError, resultNotKept } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"

/** A terminal request's answer, for whoever waited for it: the runner's status, headers and body, verbatim. */
export async function answerOutcome(
  gateway: Gateway,
  call: Call,
  record: RequestRecord,
): Promise<Answer> {
  return await answerBody(gateway, call, record, await readOutput(gateway, record))
}

/** The same for whoever comes later: only while the result is kept. */
export async function answerKeptOutcome(
  gateway: Gateway,
  call: Call,
  record: RequestRecord,
): Promise<Answer> {
  const { parts } = gateway
  const body = await readOutput(gateway, record)
  const bytes = body === null ? 0 : bytesOf(body)
  // By the time alone: its bytes may still be there, for the pruner or for a webhook that is not told yet.
  if (isResultForgotten(record, bytes, parts.config.retention, parts.now()))
    return resultNotKept(record.id)
  return await answerBody(gateway, call, record, body)
}

async function readOutput({ parts }: Gateway, { sequence }: RequestRecord): Promise<Body | null> {
  return await parts.store.body(sequence, "output")
}

function bytesOf(body: Body): number {
  return "inline" in body ? body.inline.byteLength : body.bytes
}

async function answerBody(
  gateway: Gateway,
  call: Call,
  record: RequestRecord,
  body: Body | null,
): Promise<Answer> {
  const { outcome } = record
  if (outcome === null)
    throw new Error(`request ${record.id} is ${record.state} without an outcome`)
  const headers = sendableHeaders(outcome.headers)
  headers[responseHeaders.requestId] = record.id
  const { status } = outcome
  if (status === 204 || status === 304) return { status, headers, body: null }
  if (body === null) return resultNotKept(record.id)
  if ("inline" in body) return { status, headers, body: body.inline }
  headers["content-length"] = String(body.bytes)
  if (call.method === "HEAD") return { status, headers, body: null }
  const stream = await gateway.parts.blobs.read(body.blob)
  if (stream === null) {
    // Pruned since its row was read.
    if ((await readOutput(gateway, record)) === null) return resultNotKept(record.id)
    throw new Error(`blob ${body.blob} of request ${record.id} is missing`)
  }
  return { status, headers, body: stream }
}

/** An app may have set what HTTP cannot carry; one such value must not cost the whole answer. */
function sendableHeaders(headers: Record<string, string>): Record<string, string> {
  // oxlint-disable-next-line no-control-regex
  const sendable = /^[\t\x20-\x7e\x80-\xff]*$/
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => sendable.test(value)))
}

/** Aborted when the caller's connection closes before it was answered. */
export function callerGone(call: Call): AbortSignal {
  const gone = new AbortController()
  const { response } = call
  if (response.destroyed || call.raw.socket.destroyed) gone.abort()
  else {
    response.once("close", () => {
      if (!response.writableEnded) gone.abort()
    })
  }
  return gone.signal
}

/**
 * Holds the call until its request is terminal, as `Prefer: wait=N` asks; tells whether it did. Refuses when too many
 * wait already.
 */
export async function preferTerminal(
  gateway: Gateway,
  call: Call,
  record: RequestRecord,
): Promise<{ record: RequestRecord; applied: boolean }> {
  const prefer = call.headers["prefer"]
  const seconds = parsePrefer(Array.isArray(prefer) ? prefer.join(", ") : prefer)
  if (seconds === null) return { record, applied: false }
  if (isTerminal(record.state)) return { record, applied: true }
  const { snapshots, config } = gateway.parts
  const timeoutMs = Math.min(seconds * 1_000, config.timing.waitMaxMs)
  const latest = await gateway.waiters.hold(async () => {
    const signal = callerGone(call)
    return { record: await snapshots.untilTerminal(record.id, { timeoutMs, signal }) }
  })
  if (latest === null) throw new RefusedError(overloaded("Too many calls wait; try again"))
  return { record: latest.record ?? record, applied: true }
}
