import { type Clock, systemClock, type Timer } from "../clock.ts"
import { doorPolicies } from "../domain/door.ts"
import type { RequestRecord } from "../domain/request.ts"

export interface StartupWatchParts {
  /** How long a request of the app may wait for a runner. */
  timeoutMs(app: string): number
  isHosted(app: string): boolean
  fail(id: string): Promise<unknown>
  /** The system's when there is none. */
  clock?: Clock
}

const checkEveryMs = 250

/**
 * Ends requests whose caller waits for an app that no runner hosts. A request of the queue door waits as long as it
 * takes; one of the run door has a caller on the line, who is told after `timeoutMs`.
 */
export class StartupWatch {
  readonly #parts: StartupWatchParts
  readonly #clock: Clock
  readonly #waiting = new Map<string, { app: string; since: number }>()
  #timer: Timer | null = null

  constructor(parts: StartupWatchParts) {
    this.#parts = parts
    this.#clock = parts.clock ?? systemClock
  }

  start(): void {
    this.#timer = this.#clock.setInterval(() => this.#check(), checkEveryMs)
    this.#timer.unref()
  }

  stop(): void {
    this.#clock.clear(this.#timer)
  }

  observe(record: RequestRecord): void {
    if (doorPolicies[record.door].waitsItsTurn) return
    if (record.state !== "queued") this.#waiting.delete(record.id)
    else this.#waiting.set(record.id, { app: record.app, since: this.#clock.monotonic() })
  }

  #check(): void {
    const now = this.#clock.monotonic()
    for (const [id, waiting] of this.#waiting) {
      const { app, since } = waiting
      if (now - since < this.#parts.timeoutMs(app) || this.#parts.isHosted(app)) continue
      this.#waiting.delete(id)
      this.#parts.fail(id).catch(() => {
        // A store that cannot write now is asked again; its caller waits still.
        this.#waiting.set(id, waiting)
      })
    }
  }
}
