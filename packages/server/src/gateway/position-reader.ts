import type { Store } from "../store.ts"

/**
 * Answers how many requests are before each of these, asking the store for many at once. Owns the questions not
 * yet asked; each is answered by the next read, which starts at most every `everyMs`.
 */
export class PositionReader {
  readonly #store: Pick<Store, "positions">
  readonly #everyMs: number
  #asked = new Map<string, PromiseWithResolvers<number | null>>()
  #timer: NodeJS.Timeout | null = null
  #lastReadAt = -Infinity

  constructor(store: Pick<Store, "positions">, everyMs: number) {
    this.#store = store
    this.#everyMs = everyMs
  }

  /** Queued requests before this one; null when it is not queued. Up to `everyMs` late. */
  read(id: string): Promise<number | null> {
    const known = this.#asked.get(id)
    if (known !== undefined) return known.promise
    const answer = Promise.withResolvers<number | null>()
    this.#asked.set(id, answer)
    if (this.#timer === null) {
      const delayMs = Math.max(0, this.#lastReadAt + this.#everyMs - performance.now())
      this.#timer = setTimeout(() => void this.#ask(), delayMs)
    }
    return answer.promise
  }

  async #ask(): Promise<void> {
    const asked = this.#asked
    this.#asked = new Map()
    this.#timer = null
    this.#lastReadAt = performance.now()
    try {
      const positions = await this.#store.positions([...asked.keys()])
      let index = 0
      for (const answer of asked.values()) answer.resolve(positions[index++] ?? null)
    } catch (error) {
      for (const answer of asked.values()) answer.reject(error)
    }
  }
}

/** Counts those who hold a connection open to wait, so that they stay bounded. */
export class WaiterCount {
  readonly #countMax: number
  #count = 0

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /** Runs `wait` as one more waiter; null when there are too many already. */
  async hold<T>(wait: () => Promise<T>): Promise<T | null> {
    const leave = this.enter()
    if (leave === null) return null
    try {
      return await wait()
    } finally {
      leave()
    }
  }

  /** One more waiter until the returned function is called; null when there are too many already. */
  enter(): (() => void) | null {
    if (this.#count >= this.#countMax) return null
    this.#count += 1
    let left = false
    return () => {
      if (!left) this.#count -= 1
      left = true
    }
  }
}
