import { isTerminal } from "@tintype/protocol"
import type { RequestRecord } from "./domain/request.ts"
import type { Snapshots } from "./snapshots.ts"
import type { StoreReads } from "./store.ts"

type Listener = (record: RequestRecord) => void

/**
 * Committed records in memory, least recently used out first. It owns nothing: an entry that is dropped is read from
 * the store again. Invariant: an entry is never older than one that was here before.
 */
export class SnapshotCache implements Snapshots {
  readonly #store: Pick<StoreReads, "request">
  readonly #bytesMax: number
  readonly #records = new Map<string, RequestRecord>()
  readonly #listeners = new Map<string, Set<Listener>>()
  #bytes = 0

  constructor(store: Pick<StoreReads, "request">, bytesMax: number) {
    this.#store = store
    this.#bytesMax = bytesMax
  }

  /** Takes the store's committed changes, in commit order. */
  commit(changed: RequestRecord[]): void {
    for (const record of changed) {
      this.#keep(record)
      const listeners = this.#listeners.get(record.id)
      if (listeners !== undefined) for (const listener of [...listeners]) listener(record)
    }
  }

  async get(id: string): Promise<RequestRecord | null> {
    const known = this.#records.get(id)
    if (known !== undefined) {
      // Touched entries move to the young end of the map.
      this.#records.delete(id)
      this.#records.set(id, known)
      return known
    }
    const read = await this.#store.request(id)
    if (read !== null) this.#keep(read)
    return this.#records.get(id) ?? read
  }

  watch(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set()
    this.#listeners.set(id, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id)
    }
  }

  async untilTerminal(
    id: string,
    options: { timeoutMs?: number; signal?: AbortSignal },
  ): Promise<RequestRecord | null> {
    const { promise: settled, resolve } = Promise.withResolvers<void>()
    // Watching before reading: a change between the two would be missed the other way round.
    const unwatch = this.watch(id, (record) => {
      if (isTerminal(record.state)) resolve()
    })
    const giveUp = () => resolve()
    options.signal?.addEventListener("abort", giveUp, { once: true })
    const timer =
      options.timeoutMs === undefined ? undefined : setTimeout(giveUp, options.timeoutMs)
    try {
      const record = await this.get(id)
      if (record === null || isTerminal(record.state) || options.signal?.aborted) return record
      await settled
      return await this.get(id)
    } finally {
      clearTimeout(timer)
      options.signal?.removeEventListener("abort", giveUp)
      unwatch()
    }
  }

  #keep(record: RequestRecord): void {
    const older = this.#records.get(record.id)
    if (older !== undefined) {
      if (older.version > record.version) return
      this.#bytes -= sizeOf(older)
      this.#records.delete(record.id)
    }
    this.#records.set(record.id, record)
    this.#bytes += sizeOf(record)
    for (const [id, oldest] of this.#records) {
      if (this.#bytes <= this.#bytesMax) return
      this.#records.delete(id)
      this.#bytes -= sizeOf(oldest)
    }
  }
}

/** A record's objects and short strings, measured with 100,000 of them on V8; headers and errors vary. */
const recordBytes = 900

/** Of a rule in the access list of a request's files. */
const ruleBytes = 150

function sizeOf(record: RequestRecord): number {
  const ownBytes = recordBytes + ruleBytes * (record.lifecycle?.acl?.rules.length ?? 0)
  if (record.outcome === null) return ownBytes
  let bytes = ownBytes + (record.outcome.error?.length ?? 0)
  for (const [name, value] of Object.entries(record.outcome.headers)) {
    bytes += name.length + value.length + 32
  }
  return bytes
}
