import { isTerminal } from "@tintype/protocol"
import type { BlobStore } from "../blob.ts"
import type { Clock, Timer } from "../clock.ts"
import type { Retention } from "../config.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { Pruned } from "../domain/retention.ts"
import type { Store } from "../store.ts"

export interface PrunerParts {
  store: Pick<Store, "prune">
  blobs: Pick<BlobStore, "delete">
  settings: Retention
  clock: Clock
  log(entry: Record<string, unknown>): void
}

/** What one pass has removed. */
export type PruneTotals = Omit<Pruned, "blobs" | "more"> & { blobs: number; slices: number }

/** After the end of a request whose payloads are not to be kept; together with others that end meanwhile. */
const soonMs = 1_000
/**
 * Of a slice, what the engine may spend on finding and deleting; the rest of its time is for the COMMIT, which writes the
 * pages that were touched.
 */
const deletingShare = 0.5

/**
 * Removes what is past its retention, slice by slice, with pauses in between, so that no request waits for it longer than a
 * slice. Owns its timers and nothing durable: what is due stands in the store, and a pass that is cut short is gone on with by
 * the next one.
 *
 * Blobs are deleted after the commit that removed their rows. A crash between the two leaves blobs that no row names, which
 * the sweeper finds.
 */
export class Pruner {
  readonly #parts: PrunerParts
  readonly #stop = new AbortController()
  #timer: Timer | null = null
  #soon: Timer | null = null
  #pruning: Promise<unknown> | null = null

  constructor(parts: PrunerParts) {
    this.#parts = parts
  }

  start(): void {
    const { clock, settings } = this.#parts
    this.#timer = clock.setInterval(() => this.#begin(), settings.pruneEveryMs)
    this.#timer.unref()
    this.#begin()
  }

  /** Resolves when the slice under way is committed; its blobs are left to the sweeper. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#parts.clock.clear(this.#timer)
    this.#parts.clock.clear(this.#soon)
    await this.#pruning
  }

  /** Hears of every commit: an input that is not to be kept goes when its request has ended. */
  commit(changed: readonly RequestRecord[]): void {
    if (this.#soon !== null || this.#stop.signal.aborted) return
    if (!changed.some(({ storeIo, state }) => !storeIo && isTerminal(state))) return
    this.#soon = this.#parts.clock.setTimeout(() => {
      this.#soon = null
      this.#begin()
    }, soonMs)
    this.#soon.unref()
  }

  /** One pass: until nothing is due, or it is stopped. */
  async prune(): Promise<PruneTotals> {
    const { store, settings } = this.#parts
    const totals = { requests: 0, inputs: 0, results: 0, files: 0, uploads: 0, blobs: 0, slices: 0 }
    for (let more = true; more && !this.#stop.signal.aborted;) {
      if (totals.slices > 0) await this.#pause(settings.pauseMs)
      const slice = await store.prune({
        policy: settings,
        rowsMax: settings.sliceRowsMax,
        budgetMs: settings.sliceMs * deletingShare,
      })
      totals.slices += 1
      for (const part of ["requests", "inputs", "results", "files", "uploads"] as const) {
        totals[part] += slice[part]
      }
      totals.blobs += await this.#deleteBlobs(slice.blobs)
      more = slice.more
    }
    return totals
  }

  #begin(): void {
    const { clock } = this.#parts
    const startedAt = clock.monotonic()
    this.#pruning ??= this.prune()
      .then(
        ({ slices, ...removed }) => {
          if (Object.values(removed).every((count) => count === 0)) return
          const ms = Math.round(clock.monotonic() - startedAt)
          this.#parts.log({ event: "pruned", ...removed, slices, ms })
        },
        // What is left is due still.
        (error: unknown) => this.#parts.log({ event: "prune_failed", error }),
      )
      .finally(() => {
        this.#pruning = null
      })
  }

  async #deleteBlobs(names: string[]): Promise<number> {
    let deleted = 0
    for (const name of names) {
      if (this.#stop.signal.aborted) break
      await this.#parts.blobs.delete(name)
      deleted += 1
    }
    return deleted
  }

  /** Until then, or until it is stopped. */
  async #pause(ms: number): Promise<void> {
    const { clock } = this.#parts
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = clock.setTimeout(resolve, ms)
    const { signal } = this.#stop
    const end = () => resolve()
    signal.addEventListener("abort", end, { once: true })
    await promise
    signal.removeEventListener("abort", end)
    clock.clear(timer)
  }
}
