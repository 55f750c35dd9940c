import type { ServerResponse } from "node:http"

/** Server-sent events, as the doors that stream write them. */

export function eventStreamHeaders(requestId: string): Record<string, string> {
  return {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-fal-request-id": requestId,
  }
}

/** A comment: keep-alive, which no client takes for an event. */
export const ping = ": ping\n\n"

/** One event. `json` may come in pieces of it: see `eventText`. */
export function sseEvent(json: string): string {
  return `data: ${eventText(json)}\n\n`
}

/**
 * JSON as an event may carry it. ASCII, because the JavaScript client's decoder corrupts a character that is split between
 * two reads; in one line, as a line ends an event's field. Nothing is parsed, so that numbers stay as they are.
 */
export function eventText(json: string): string {
  return json.replace(/[\r\n\u007f-\uffff]/g, (unit) =>
    unit < " " ? " " : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
}

/**
 * Resolves when the caller has taken what was written before, or is gone. One who takes nothing for `stallMs` counts as gone:
 * its connection is closed.
 */
export async function writeAll(
  response: ServerResponse,
  text: string,
  stallMs: number,
): Promise<void> {
  if (response.destroyed || response.write(text)) return
  const { promise, resolve } = Promise.withResolvers<void>()
  response.once("drain", resolve)
  response.once("close", resolve)
  const stalled = setTimeout(() => response.destroy(), stallMs)
  await promise
  clearTimeout(stalled)
  response.off("drain", resolve)
  response.off("close", resolve)
}

/** Wakes one sleeper; a ring while nobody sleeps is remembered. */
export class Bell {
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

/** Beats for those who hold a connection open: thousands of them with one timer. */
export class Pulse {
  readonly everyMs: number
  readonly #members = new Set<() => void>()
  #timer: NodeJS.Timeout | null = null

  constructor(everyMs: number) {
    this.everyMs = everyMs
  }

  /** Calls `beat` every `everyMs`, until the returned function is called. */
  join(beat: () => void): () => void {
    this.#members.add(beat)
    this.#timer ??= setInterval(() => {
      for (const member of this.#members) member()
    }, this.everyMs)
    return () => {
      this.#members.delete(beat)
      if (this.#members.size > 0 || this.#timer === null) return
      clearInterval(this.#timer)
      this.#timer = null
    }
  }
}
