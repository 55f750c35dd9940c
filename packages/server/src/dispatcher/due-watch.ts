import type { Clock, Timer } from "../clock.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { Store } from "../store.ts"

export interface DueWatchParts {
  store: Pick<Store, "advance" | "nextDueAt">
  clock: Clock
  /** The store is asked at least so often: it alone knows what an earlier life of the server left. */
  everyMs: number
  /** A request of this app may start again. */
  onReleased(app: string): void
  log: (entry: Record<string, unknown>) => void
}

/** Between two looks: a store whose clock is behind ours says "now" for a while. */
const pauseMsMin = 10

/**
 * Calls the store's `advance` when a backoff or a start deadline is over. It owns one timer and no truth: what it was told
 * of makes it punctual, what it was not told of is found by asking.
 */
export class DueWatch {
  readonly #parts: DueWatchParts
  #timer: Timer | null = null
  /** Epoch milliseconds of the next look. */
  #at = Number.POSITIVE_INFINITY
  #looking = false
  #stopped = false

  constructor(parts: DueWatchParts) {
    this.#parts = parts
  }

  start(): void {
    void this.#look()
  }

  stop(): void {
    this.#stopped = true
    this.#parts.clock.clear(this.#timer)
  }

  /** A committed record. */
  observe({ state, notBefore, startDeadline }: RequestRecord): void {
    if (state !== "queued") return
    const at = Math.min(
      notBefore ?? Number.POSITIVE_INFINITY,
      startDeadline ?? Number.POSITIVE_INFINITY,
    )
    if (at >= this.#at) return
    this.#at = at
    if (!this.#looking) this.#arm()
  }

  #arm(): void {
    const { clock, everyMs } = this.#parts
    clock.clear(this.#timer)
    if (this.#stopped) return
    const waitMs = Math.min(everyMs, Math.max(pauseMsMin, this.#at - clock.now()))
    this.#timer = clock.setTimeout(() => void this.#look(), waitMs)
    this.#timer.unref()
  }

  async #look(): Promise<void> {
    if (this.#looking || this.#stopped) return
    const { clock, log, store } = this.#parts
    this.#looking = true
    this.#at = Number.POSITIVE_INFINITY
    try {
      let next = await store.nextDueAt()
      if (next !== null && next <= clock.now()) {
        const { released } = await store.advance()
        for (const app of released) this.#parts.onReleased(app)
        next = await store.nextDueAt()
      }
      this.#at = Math.min(this.#at, next ?? Number.POSITIVE_INFINITY)
    } catch (error) {
      // Asked again at the next turn; the claims judge for themselves meanwhile.
      if (!this.#stopped) log({ event: "advance_failed", error: String(error) })
    } finally {
      this.#looking = false
      this.#arm()
    }
  }
}
