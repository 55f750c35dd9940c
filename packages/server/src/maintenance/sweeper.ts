import type { BlobStore } from "../blob.ts"
import type { StoreReads } from "../store.ts"

export interface SweeperParts {
  store: Pick<StoreReads, "unreferencedBlobs">
  blobs: Pick<BlobStore, "list" | "delete">
  /** Blobs that no row names yet and that are in use all the same, however old. */
  held(): ReadonlySet<string>
  everyMs: number
  /** A younger blob may be one whose row is about to commit. */
  olderThanMs: number
  log(entry: Record<string, unknown>): void
}

/** Names asked about at a time. */
const batchMax = 500

/**
 * Deletes blobs that no row names: a crash between a blob's write and its row's commit leaves one. It owns nothing but its
 * timer, and a sweep that is cut short is simply made again.
 */
export class Sweeper {
  readonly #parts: SweeperParts
  #timer: NodeJS.Timeout | null = null
  #sweeping: Promise<unknown> | null = null
  #stopped = false

  constructor(parts: SweeperParts) {
    this.#parts = parts
  }

  start(): void {
    this.#timer = setInterval(() => this.#begin(), this.#parts.everyMs)
    this.#timer.unref()
    this.#begin()
  }

  /** Resolves when a sweep under way has come to its next blob. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#sweeping
  }

  /** One pass; resolves to the number of blobs deleted. */
  async sweep(): Promise<number> {
    let deleted = 0
    let batch: string[] = []
    for await (const name of this.#parts.blobs.list(this.#parts.olderThanMs)) {
      if (this.#stopped) return deleted
      batch.push(name)
      if (batch.length < batchMax) continue
      deleted += await this.#deleteOrphans(batch)
      batch = []
    }
    return deleted + (await this.#deleteOrphans(batch))
  }

  #begin(): void {
    this.#sweeping ??= this.sweep()
      .then(
        (deleted) => {
          if (deleted > 0) this.#parts.log({ event: "blobs_swept", deleted })
        },
        (error: unknown) => this.#parts.log({ event: "sweep_failed", error }),
      )
      .finally(() => {
        this.#sweeping = null
      })
  }

  async #deleteOrphans(names: string[]): Promise<number> {
    if (names.length === 0) return 0
    // Asked first: what is let go of between the two questions has its row by the second.
    const held = this.#parts.held()
    const free = names.filter((name) => !held.has(name))
    const orphans = await this.#parts.store.unreferencedBlobs(free)
    let deleted = 0
    for (const name of orphans) {
      if (this.#stopped) break
      await this.#parts.blobs.delete(name)
      deleted += 1
    }
    return deleted
  }
}
