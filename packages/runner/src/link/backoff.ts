/**
 * Doubling delays from `minMs` to `maxMs`, each between half of it and all of it, so that many who lost the same
 * peer do not come back in step. `random` is in [0, 1).
 */
export class Backoff {
  readonly #minMs: number
  readonly #maxMs: number
  readonly #random: () => number
  #tries = 0

  constructor(minMs: number, maxMs: number, random: () => number) {
    this.#minMs = minMs
    this.#maxMs = maxMs
    this.#random = random
  }

  /** The delay before the next try, in milliseconds. */
  nextMs(): number {
    const ceilingMs = Math.min(this.#maxMs, this.#minMs * 2 ** Math.min(this.#tries, 30))
    this.#tries += 1
    return ceilingMs * (0.5 + this.#random() / 2)
  }

  reset(): void {
    this.#tries = 0
  }
}
