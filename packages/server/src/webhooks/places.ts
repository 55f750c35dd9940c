import type { Webhooks } from "../config.ts"

/** What the end of a try says of its origin: it took all its time, it was a success at once, or anything between. */
export type TryPace = "timeout" | "quick" | "usual"

type Bounds = Pick<Webhooks, "triesMax" | "triesPerOriginMax" | "triesPerQuickOriginMax">

/** Origins that are remembered as slow or quick. */
const originsMax = 10_000

/**
 * How many tries each origin may have at a time.
 *
 *   one ◀── timeout ── the usual number ── quick, with no place free ──▶ one more, up to a bound
 *    └─── any other end ────▲        ▲─────── any other end ──────────────┘
 *
 * Invariant: tries beyond the usual number begin only while half of all places are free, so that origins that were quick
 * and begin to hang leave the others theirs.
 */
export class Places {
  readonly #bounds: Bounds
  /** Under way. */
  readonly #tries = new Map<string, number>()
  /** Where they are not the usual number; what was changed last is last. */
  readonly #places = new Map<string, number>()
  #all = 0

  constructor(bounds: Bounds) {
    this.#bounds = bounds
  }

  /** No origin may begin one more. */
  get isFull(): boolean {
    return this.#all >= this.#bounds.triesMax
  }

  /** The most that an origin with tries under way may have, and no less than the usual number. */
  get most(): number {
    const places = [...this.#tries.keys()].map((origin) => this.#placesAt(origin))
    return Math.max(this.#bounds.triesPerOriginMax, ...places)
  }

  triesAt(origin: string): number {
    return this.#tries.get(origin) ?? 0
  }

  hasPlaceAt(origin: string): boolean {
    const { triesMax, triesPerOriginMax } = this.#bounds
    const tries = this.triesAt(origin)
    if (tries >= this.#placesAt(origin)) return false
    return tries < triesPerOriginMax || this.#all < triesMax / 2
  }

  /** Origins with tries under way that may have no more. */
  taken(): string[] {
    return [...this.#tries.keys()].filter((origin) => !this.hasPlaceAt(origin))
  }

  take(origin: string): void {
    this.#all += 1
    this.#tries.set(origin, this.triesAt(origin) + 1)
  }

  /** A try has ended; its place is free when it is left. */
  note(origin: string, pace: TryPace): void {
    const places = this.#placesAfter(origin, pace)
    this.#places.delete(origin)
    if (places === this.#bounds.triesPerOriginMax) return
    this.#places.set(origin, places)
    const [oldest] = this.#places.keys()
    if (this.#places.size > originsMax && oldest !== undefined) this.#places.delete(oldest)
  }

  leave(origin: string): void {
    this.#all -= 1
    const others = this.triesAt(origin) - 1
    if (others === 0) this.#tries.delete(origin)
    else this.#tries.set(origin, others)
  }

  #placesAt(origin: string): number {
    return this.#places.get(origin) ?? this.#bounds.triesPerOriginMax
  }

  #placesAfter(origin: string, pace: TryPace): number {
    const { triesPerOriginMax: usual, triesPerQuickOriginMax: most } = this.#bounds
    const places = this.#placesAt(origin)
    if (pace === "timeout") return 1
    if (pace === "usual" || places < usual) return usual
    return this.triesAt(origin) >= places && places < most ? places + 1 : places
  }
}
