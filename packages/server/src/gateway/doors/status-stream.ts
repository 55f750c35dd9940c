import type { ServerResponse } from "node:http"
import { isTerminal } from "@tintype/protocol"
import type { RequestRecord } from "../../domain/request.ts"
import type { EventCursor } from "../../store.ts"
import { type Answer, overloaded } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { readStatus, statusBody, wantsLogs } from "./status.ts"

/** How often a queued request's position is looked at: it changes without a change of the request. */
const positionLookMs = 500

/**
 * The status as server-sent events: one at once, one for every change, `COMPLETED` last. Owns a watch on the request
 * and one on its events, for as long as the caller listens.
 */
export function answerStatusStream(gateway: Gateway, call: Call, record: RequestRecord): Answer {
  const headers = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-fal-request-id": record.id,
  }
  if (call.method === "HEAD") return { status: 200, headers, body: null }
  const leave = gateway.waiters.enter()
  if (leave === null) return overloaded("Too many calls wait; try again")
  return {
    status: 200,
    headers,
    body: async (response) => {
      try {
        await writeStatuses(gateway, call, response, record)
      } finally {
        leave()
      }
    },
  }
}

async function writeStatuses(
  gateway: Gateway,
  call: Call,
  response: ServerResponse,
  first: RequestRecord,
): Promise<void> {
  const { snapshots, events, config } = gateway.parts
  const logs = wantsLogs(call.address.query)
  const bell = new Bell()
  const ends = [
    snapshots.watch(first.id, () => bell.ring()),
    events.watch(first.id, () => bell.ring()),
  ]
  const close = () => bell.ring()
  response.once("close", close)
  let after: EventCursor | undefined
  let told = ""
  let lastWriteAt = -Infinity
  try {
    while (!response.destroyed) {
      const current = (await snapshots.get(first.id)) ?? first
      const read = await readStatus(
        gateway,
        current,
        after === undefined ? { logs } : { logs, after },
      )
      const { record, facts, cursor } = read
      after = cursor
      const state = JSON.stringify([record.state, facts.position, facts.progress])
      if (state !== told || (facts.logs?.length ?? 0) > 0) {
        await writeAll(response, sseEvent(statusBody(record, call.address, facts)))
        told = state
        lastWriteAt = performance.now()
      } else if (performance.now() - lastWriteAt >= config.timing.streamPingMs) {
        await writeAll(response, ": ping\n\n")
        lastWriteAt = performance.now()
      }
      if (isTerminal(record.state)) break
      const untilPing = lastWriteAt + config.timing.streamPingMs - performance.now()
      await bell.wait(record.state === "queued" ? Math.min(positionLookMs, untilPing) : untilPing)
    }
    response.end()
  } finally {
    response.off("close", close)
    for (const end of ends) end()
  }
}

/**
 * One event: ASCII, because the JavaScript client's decoder corrupts a character that is split between chunks.
 */
export function sseEvent(body: object): string {
  const ascii = JSON.stringify(body).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
  return `data: ${ascii}\n\n`
}

/** Resolves when the caller has taken what was written before, or is gone. */
async function writeAll(response: ServerResponse, text: string): Promise<void> {
  if (response.destroyed || response.write(text)) return
  const { promise, resolve } = Promise.withResolvers<void>()
  response.once("drain", resolve)
  response.once("close", resolve)
  await promise
  response.off("drain", resolve)
  response.off("close", resolve)
}

/** Wakes one sleeper; a ring while nobody sleeps is remembered. */
class Bell {
  #rung = false
  #wake: (() => void) | null = null

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  async wait(timeoutMs: number): Promise<void> {
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, Math.max(0, timeoutMs))
      this.#wake = resolve
      await promise
      clearTimeout(timer)
      this.#wake = null
    }
    this.#rung = false
  }
}
