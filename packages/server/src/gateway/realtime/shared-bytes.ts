/** How much several sockets hold in memory together: what waits for an app, and what its caller has not read. */
export class SharedBytes {
  readonly #max: number
  readonly #within: SharedBytes | null
  #held = 0

  /** What is held counts in `within` as well. */
  constructor(max: number, within: SharedBytes | null = null) {
    this.#max = max
    this.#within = within
  }

  get isOver(): boolean {
    return this.#held > this.#max || this.#within?.isOver === true
  }

  /** Of one socket; a negative number is let go of. */
  add(bytes: number): void {
    this.#held += bytes
    this.#within?.add(bytes)
  }
}
