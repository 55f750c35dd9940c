/**
 * Who waits for the outcomes of runs that came with an idempotency key. Such a run outlives its caller for a while, as the
 * caller may come back with its key.
 *
 *     waited for ──the last caller goes──▶ alone ──`absenceMs`──▶ abandoned
 *         ▲                                  │
 *         └──────── one comes back ──────────┘
 */
export class KeyedRuns {
  readonly #absenceMs: number
  /** At most so many are kept alone; more are abandoned at once. */
  readonly #aloneMax: number
  readonly #runs = new Map<string, { callers: number; timer: NodeJS.Timeout | null }>()
  #alone = 0

  constructor(absenceMs: number, aloneMax: number) {
    this.#absenceMs = absenceMs
    this.#aloneMax = aloneMax
  }

  /** A caller waits for this request. */
  enter(id: string): void {
    const run = this.#runs.get(id) ?? { callers: 0, timer: null }
    this.#runs.set(id, run)
    run.callers += 1
    if (run.timer === null) return
    clearTimeout(run.timer)
    run.timer = null
    this.#alone -= 1
  }

  /** It has its answer, or went away without: then `abandon` is called when nobody is left and nobody comes back. */
  leave(id: string, abandon: (() => void) | null): void {
    const run = this.#runs.get(id)
    if (run === undefined) return
    run.callers -= 1
    if (run.callers > 0) return
    if (abandon === null || this.#alone >= this.#aloneMax) {
      this.#runs.delete(id)
      abandon?.()
      return
    }
    this.#alone += 1
    run.timer = setTimeout(() => {
      this.#alone -= 1
      this.#runs.delete(id)
      abandon()
    }, this.#absenceMs).unref()
  }

  close(): void {
    for (const { timer } of this.#runs.values()) if (timer !== null) clearTimeout(timer)
    this.#runs.clear()
  }
}
