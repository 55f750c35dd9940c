import { validateHeaderValue } from "node:http"
import { allowedFromApp, type DoneFrame, type FailedFrame } from "@tintype/protocol"
import type { BlobStore } from "../blob.ts"
import type { Limits, Timing } from "../config.ts"
import type { Body } from "../domain/request.ts"
import { stopsRunner } from "../domain/retry.ts"
import type { AttemptResult, SettleResult, Store } from "../store.ts"
import type { EventBook } from "./event-book.ts"
import type { RunnerSession } from "./runner-session.ts"

/** A runner's last word on an attempt. */
export interface Conclusion {
  lease: string
  frame: DoneFrame | FailedFrame
  /** Made of the frame at the first try, so that a repeated one writes no body again. */
  result?: AttemptResult
}

export interface ConclusionParts {
  store: Pick<Store, "settle">
  blobs: Pick<BlobStore, "write">
  events: Pick<EventBook, "flush">
  limits: Limits
}

/** Writes an outcome, its last events in the same commit. Rejects when the store cannot take it now. */
export async function concludeLease(
  parts: ConclusionParts,
  session: RunnerSession,
  conclusion: Conclusion,
): Promise<SettleResult> {
  const { lease, frame } = conclusion
  const result = (conclusion.result ??= await attemptResult(parts, session, frame))
  parts.events.flush(lease)
  return await parts.store.settle({ lease, session: session.id, result })
}

/** What an outcome says that the gateway writes because its runner cannot. */
export const silentDetail = "The app keeps its process from answering."

/**
 * Ends the attempts that a runner should have ended and cannot, as an app blocks its process. All of it is handed to the
 * store before this returns.
 */
export async function settleOverdue(
  parts: Pick<ConclusionParts, "store" | "events"> & { timing: Pick<Timing, "graceMs"> },
  session: RunnerSession,
): Promise<void> {
  const settled = session.overdue(parts.timing.graceMs).map(({ lease, reason, workedMs }) => {
    parts.events.flush(lease)
    const result = {
      kind: "failed",
      reason,
      detail: silentDetail,
      inferenceMs: workedMs,
    } as const
    return parts.store.settle({ lease, session: session.id, result })
  })
  await Promise.all(settled)
}

/** Did the app's answer ask for another runner? */
export function endsRunner({ frame }: Conclusion): boolean {
  if (frame.type === "failed") return false
  const lowered = Object.entries(frame.headers).map(([name, value]) => [name.toLowerCase(), value])
  return stopsRunner(frame.status, Object.fromEntries(lowered) as Record<string, string>)
}

async function attemptResult(
  parts: ConclusionParts,
  session: RunnerSession,
  frame: DoneFrame | FailedFrame,
): Promise<AttemptResult> {
  if (frame.type === "failed") {
    const { reason, detail, inferenceMs } = frame
    return { kind: "failed", reason, detail, inferenceMs }
  }
  const { status, inferenceMs } = frame
  const headers = passedHeaders(frame)
  if (headerBytes(headers) > parts.limits.responseHeaderBytesMax) {
    const detail = "The app's response headers are too large"
    return { kind: "failed", reason: "incomplete_response", detail, inferenceMs }
  }
  const body = await bodyOf(parts, session, frame)
  if (body === null) {
    const detail = "The app's output never arrived"
    return { kind: "failed", reason: "incomplete_response", detail, inferenceMs }
  }
  return { kind: "answered", status, headers, body, inferenceMs }
}

async function bodyOf(
  { blobs, limits }: ConclusionParts,
  session: RunnerSession,
  frame: DoneFrame,
): Promise<Body | null> {
  if (frame.body === null) return session.attempts.get(frame.lease)?.transferred ?? null
  if (frame.body.byteLength <= limits.inlineBytesMax) return { inline: frame.body }
  const { name, bytes } = await blobs.write(single(frame.body))
  const body = { blob: name, bytes }
  // Until it is settled nothing else says that the blob is in use.
  const held = session.attempts.get(frame.lease)
  if (held !== undefined) held.transferred = body
  return body
}

async function* single(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk
}

/** What of the app's headers may reach the caller; a value that HTTP cannot carry would break the answer. */
function passedHeaders({ headers, status }: DoneFrame): Record<string, string> {
  const passed = Object.entries(headers)
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name, value]) => allowedFromApp(name, status) && isHeaderValue(value))
  return Object.fromEntries(passed)
}

function isHeaderValue(value: string): boolean {
  try {
    validateHeaderValue("x", value)
    return true
  } catch {
    return false
  }
}

function headerBytes(headers: Record<string, string>): number {
  let bytes = 0
  for (const [name, value] of Object.entries(headers)) bytes += name.length + value.length + 4
  return bytes
}
