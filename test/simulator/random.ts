/** Every choice of a simulation comes from one of these, so that its seed says everything. */
export class Random {
  #state: number

  constructor(seed: number) {
    // Neighbouring seeds must not begin alike.
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0
    this.next()
    this.next()
  }

  /** A source of its own: what it gives does not depend on how often this one is asked later. */
  fork(): Random {
    return new Random(this.next() * 0x1_0000_0000)
  }

  /** In [0, 1). This is mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** An integer from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.integer(0, items.length - 1)]
    if (item === undefined) throw new Error("There is nothing to pick from")
    return item
  }

  /** One of the names, as often as its weight says. */
  weighted<Name extends string>(weights: Record<Name, number>): Name {
    const names = Object.keys(weights) as Name[]
    let point = this.next() * names.reduce((sum, name) => sum + weights[name], 0)
    for (const name of names) {
      point -= weights[name]
      if (point < 0) return name
    }
    return names.at(-1)!
  }

  hex(digits: number): string {
    let text = ""
    while (text.length < digits) text += this.integer(0, 0xffffff).toString(16).padStart(6, "0")
    return text.slice(0, digits)
  }
}
