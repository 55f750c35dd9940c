import { doorPolicies } from "../domain/door.ts"
import type { RequestRecord } from "../domain/request.ts"

export interface StartupWatchParts {
  timeoutMs: number
  isHosted(app: string): boolean
  fail(id: string): Promise<unknown>
}

/**
 * Ends requests whose caller waits for an app that no runner hosts. A request of the queue door waits as long as it
 * takes; one of the run door has a caller on the line, who is told after `timeoutMs`.
 */
export class StartupWatch {
  readonly #parts: StartupWatchParts
  readonly #waiting = new Map<string, { app: string; since: number }>()
  #timer: NodeJS.Timeout | null = null

  constructor(parts: StartupWatchParts) {
    this.#parts = parts
  }

  start(): void {
    const everyMs = Math.max(50, Math.min(1_000, this.#parts.timeoutMs / 4))
    this.#timer = setInterval(() => this.#check(), everyMs)
    this.#timer.unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  observe(record: RequestRecord): void {
    if (doorPolicies[record.door].waitsItsTurn) return
    if (record.state !== "queued") this.#waiting.delete(record.id)
    else this.#waiting.set(record.id, { app: record.app, since: performance.now() })
  }

  #check(): void {
    const now = performance.now()
    for (const [id, waiting] of this.#waiting) {
      const { app, since } = waiting
      if (now - since < this.#parts.timeoutMs || this.#parts.isHosted(app)) continue
      this.#waiting.delete(id)
      this.#parts.fail(id).catch(() => {
        // A store that cannot write now is asked again; its caller waits still.
        this.#waiting.set(id, waiting)
      })
    }
  }
}
