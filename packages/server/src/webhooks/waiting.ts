import type { DueDelivery } from "../store.ts"

/** Due deliveries that were found and have no place yet. Their origins take turns. */
export class Waiting {
  readonly #queues = new Map<string, DueDelivery[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  origins(): Iterable<string> {
    return this.#queues.keys()
  }

  has(origin: string): boolean {
    return this.#queues.has(origin)
  }

  add(due: DueDelivery): void {
    const { origin } = due.delivery
    const queue = this.#queues.get(origin)
    if (queue === undefined) this.#queues.set(origin, [due])
    else queue.push(due)
    this.#size += 1
  }

  /** Takes out what may begin, one of each origin after another; whoever was passed over comes first the next time. */
  *take(mayBegin: (due: DueDelivery) => boolean): Generator<DueDelivery> {
    for (const [origin, queue] of this.#queues) {
      const [first] = queue
      if (first === undefined || !mayBegin(first)) continue
      queue.shift()
      this.#size -= 1
      this.#queues.delete(origin)
      // At the end, where this loop comes by again.
      if (queue.length > 0) this.#queues.set(origin, queue)
      yield first
    }
  }

  /** Drops what waits for these origins: it stands in the store and will be found again. */
  forget(isMeant: (origin: string) => boolean): void {
    for (const [origin, queue] of this.#queues) {
      if (!isMeant(origin)) continue
      this.#queues.delete(origin)
      this.#size -= queue.length
    }
  }
}
