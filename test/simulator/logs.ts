import type { RequestRecord } from "../../packages/server/src/domain/request.ts"
import type { EventCursor, StoredEvent } from "../../packages/server/src/store.ts"
import { Violation } from "./violation.ts"

/** A lease whose outcome was taken, and whether that outcome ended the request. */
export interface Concluded {
  id: string
  attempt: number
  session: string
  ended: boolean
  /** The runner's own word, not the gateway's on one that it does not hear from. */
  isRunners: boolean
}

/** What must be true of the logs of requests: as they are followed, and as they are in the end. */
export class Logs {
  /** What was said by the attempts whose runner came to an outcome. */
  readonly #said = new Map<string, number>()
  /** Where each reader who comes back for more has come to. */
  readonly #cursors = new Map<string, EventCursor>()

  /** A runner came to an outcome, after so many events. */
  said(lease: string, events: number): void {
    this.#said.set(lease, events)
  }

  /** More of a request's log, as a reader with a cursor gets it. */
  followed(id: string, events: StoredEvent[]): void {
    for (const { attempt, source, event } of events) {
      const cursor = this.cursor(id)
      if (attempt < cursor.attempt) throw new Violation("events are in order", id)
      const expected = attempt === cursor.attempt ? cursor.seq + 1 : 1
      if (source === "app" && event.seq !== expected) {
        throw new Violation(
          "events are gapless and unrepeated",
          `${id}, attempt ${attempt}: ${event.seq} where ${expected} follows`,
        )
      }
      this.#cursors.set(id, { attempt, seq: event.seq })
    }
  }

  cursor(id: string): EventCursor {
    return this.#cursors.get(id) ?? { attempt: 0, seq: 0 }
  }

  /** What is stored of an ended request is all that its attempts said before their outcomes. */
  checkEnd(
    { id }: RequestRecord,
    events: StoredEvent[],
    concluded: ReadonlyMap<string, Concluded>,
  ): void {
    const counts = countEvents(id, events)
    for (const [lease, { id: of, attempt, isRunners }] of concluded) {
      if (of !== id || !isRunners) continue
      const [stored, said] = [counts.get(attempt) ?? 0, this.#said.get(lease) ?? 0]
      if (stored !== said) {
        throw new Violation("an outcome brings its last events", `${id}: ${stored} of ${said}`)
      }
    }
  }
}

/** By attempt, each of which has said 1, 2, 3 … */
function countEvents(id: string, events: StoredEvent[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const { attempt, source, event } of events) {
    if (source !== "app") continue
    const expected = (counts.get(attempt) ?? 0) + 1
    counts.set(attempt, expected)
    const text = event.kind === "log" ? event.message.split(" ")[1] : ""
    if (event.seq !== expected || text !== String(expected)) {
      throw new Violation("events are gapless and unrepeated", `${id}, attempt ${attempt}`)
    }
  }
  return counts
}
