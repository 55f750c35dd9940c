/** What is written: rows of the store, or blobs. */
export type SpaceKind = "rows" | "blobs"

/** A refusal that nobody has tried again for so long says nothing any more. */
const refusalMs = 60_000

/**
 * Is there room for what callers send? Full from the first write that the disk has no space for, until one of its kind
 * succeeds or was not tried for a minute.
 */
export class SpaceWatch {
  readonly #now: () => number
  readonly #log: (entry: object) => void
  readonly #refusedAt = new Map<SpaceKind, number>()

  /** `now`: milliseconds since some moment. */
  constructor(now: () => number, log: (entry: object) => void) {
    this.#now = now
    this.#log = log
  }

  note(kind: SpaceKind, isFull: boolean): void {
    const wasFull = this.#refusedAt.has(kind)
    if (isFull) this.#refusedAt.set(kind, this.#now())
    else this.#refusedAt.delete(kind)
    if (isFull !== wasFull) this.#log({ event: isFull ? "storage_full" : "storage_free", kind })
  }

  get isFull(): boolean {
    const since = this.#now() - refusalMs
    return [...this.#refusedAt.values()].some((at) => at > since)
  }
}
