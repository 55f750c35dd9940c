/** A bucket per account or key: it fills at `perSecond` and holds a second's worth, one at least. */
interface Bucket {
  tokens: number
  perSecond: number
  at: number
}

export interface Rate {
  /** Whose bucket. */
  name: string
  perSecond: number
}

/** Beyond this, buckets that are full again are forgotten: they say nothing. */
const bucketsMax = 10_000

/** Request rates, in memory: a restart forgives what was spent. */
export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>()
  readonly #now: () => number

  /** `now` in milliseconds, never set back. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Takes one from each bucket, or none: then it answers after how many seconds there is one in each. */
  take(rates: Rate[]): number | null {
    const buckets = rates.map((rate) => this.#fill(rate))
    const waits = buckets.map(({ tokens, perSecond }) => (1 - tokens) / perSecond)
    const waitSeconds = Math.max(0, ...waits)
    if (waitSeconds > 0) return Math.ceil(waitSeconds)
    for (const bucket of buckets) bucket.tokens -= 1
    return null
  }

  #fill({ name, perSecond }: Rate): Bucket {
    const now = this.#now()
    const size = Math.max(1, perSecond)
    const known = this.#buckets.get(name)
    const bucket = known ?? { tokens: size, perSecond, at: now }
    const earned = ((now - bucket.at) / 1_000) * perSecond
    bucket.tokens = Math.min(size, bucket.tokens + earned)
    bucket.perSecond = perSecond
    bucket.at = now
    if (known === undefined) {
      if (this.#buckets.size >= bucketsMax) this.#forgetFull(now)
      this.#buckets.set(name, bucket)
    }
    return bucket
  }

  #forgetFull(now: number): void {
    for (const [name, { tokens, perSecond, at }] of this.#buckets) {
      const isFull = tokens + ((now - at) / 1_000) * perSecond >= Math.max(1, perSecond)
      if (isFull) this.#buckets.delete(name)
    }
  }
}
