import type { AttemptEvent } from "@tintype/protocol"
import { type Clock, systemClock, type Timer } from "../clock.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { EventFeed } from "../snapshots.ts"
import type { EventBatch, EventCursor, Store, StoredEvent } from "../store.ts"

type Progress = Extract<AttemptEvent, { kind: "progress" }>

interface Page {
  requestId: string
  attempt: number
  lastSeq: number
  /** Received and not known to be stored, in order of seq. */
  pending: AttemptEvent[]
  /** An append of this page is under way. */
  sending: boolean
  progress: Progress | null
}

export interface EventBookOptions {
  store: Pick<Store, "appendEvents" | "events">
  flushEveryMs: number
  /** Told after the commit, so that the runner can forget what is stored. */
  onStored(lease: string, seq: number): void
  /** The system's when there is none. */
  clock?: Clock
}

/** So many pending events in an attempt are stored at once instead of at the next flush. */
const pendingMax = 500

/**
 * What running attempts say. A page is opened when an attempt is assigned or kept and closed when its lease
 * ends; in between its events are visible at once and stored in batches. Invariant: an event leaves memory only after
 * the store has it, and each (attempt, seq) is told once.
 */
export class EventBook implements EventFeed {
  readonly #options: EventBookOptions
  readonly #clock: Clock
  readonly #pages = new Map<string, Page>()
  readonly #pageOfRequest = new Map<string, Page>()
  readonly #listeners = new Map<string, Set<() => void>>()
  readonly #dirty = new Set<string>()
  #timer: Timer | null = null
  #pendingBytes = 0
  #stopped = false

  constructor(options: EventBookOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
  }

  open(lease: string, requestId: string, attempt: number, storedSeq: number): void {
    if (this.#pages.has(lease)) return
    const page: Page = {
      requestId,
      attempt,
      lastSeq: storedSeq,
      pending: [],
      sending: false,
      progress: null,
    }
    this.#pages.set(lease, page)
    this.#pageOfRequest.set(requestId, page)
  }

  /** False for an event that does not follow the one before: what is missing between them would never come. */
  add(lease: string, event: AttemptEvent): boolean {
    const page = this.#pages.get(lease)
    // A resumed runner sends again what it cannot know to be stored.
    if (page === undefined || event.seq <= page.lastSeq) return true
    if (event.seq !== page.lastSeq + 1) return false
    page.lastSeq = event.seq
    page.pending.push(event)
    this.#pendingBytes += sizeOf(event)
    if (event.kind === "progress") page.progress = event
    this.#dirty.add(lease)
    this.#tell(page.requestId)
    if (page.pending.length % pendingMax === 0) this.#store([lease])
    else this.#schedule()
    return true
  }

  /** What is received and not yet stored: links stop reading while it is too much. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** Hands over what is pending now, so that it joins the commit of a write called in the same tick. */
  flush(lease: string): void {
    this.#store([lease], true)
  }

  close(lease: string): void {
    const page = this.#pages.get(lease)
    if (page === undefined) return
    for (const event of page.pending) this.#pendingBytes -= sizeOf(event)
    this.#pages.delete(lease)
    this.#dirty.delete(lease)
    if (this.#pageOfRequest.get(page.requestId) === page) this.#pageOfRequest.delete(page.requestId)
  }

  /** Stores what is pending, once; nothing is stored after it. */
  stop(): void {
    if (this.#stopped) return
    this.#store([...this.#dirty])
    this.#stopped = true
    this.#clock.clear(this.#timer)
    this.#timer = null
  }

  async read(record: RequestRecord, after?: EventCursor): Promise<StoredEvent[]> {
    // Memory first: what is stored meanwhile is then seen twice, never not at all.
    const page = this.#pageOfRequest.get(record.id)
    const pending = page === undefined ? [] : [...page.pending]
    const stored = await this.#options.store.events(record.sequence, after)
    if (page === undefined) return stored
    const seen = new Set(stored.map((line) => (line.attempt === page.attempt ? line.event.seq : 0)))
    const fresh = pending.filter(
      (event) => !seen.has(event.seq) && isAfter(page.attempt, event.seq, after),
    )
    const { attempt } = page
    const merged = [
      ...stored,
      ...fresh.map((event) => ({ attempt, source: "app" as const, event })),
    ]
    // The gateway's last word on an attempt may be stored while some of it is still in memory here.
    return stored.at(-1)?.attempt === attempt ? merged.toSorted(inOrder) : merged
  }

  watch(requestId: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(requestId) ?? new Set()
    this.#listeners.set(requestId, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#listeners.get(requestId) === listeners) {
        this.#listeners.delete(requestId)
      }
    }
  }

  progress(requestId: string): Progress | null {
    return this.#pageOfRequest.get(requestId)?.progress ?? null
  }

  #flushAll(): void {
    this.#timer = null
    this.#store([...this.#dirty])
  }

  #store(leases: string[], final = false): void {
    const batches: EventBatch[] = []
    for (const lease of leases) {
      const page = this.#pages.get(lease)
      // One append of a page at a time keeps its events in order; a final one may overlap, as the store
      // deduplicates and commits in call order.
      if (page === undefined || page.pending.length === 0 || (page.sending && !final)) continue
      page.sending = true
      this.#dirty.delete(lease)
      batches.push({ lease, events: [...page.pending] })
    }
    if (batches.length === 0) return
    this.#options.store.appendEvents(batches).then(
      (stored) => {
        for (const { lease, storedSeq } of stored) this.#forget(lease, storedSeq)
        const held = new Set(stored.map(({ lease }) => lease))
        // What a lost attempt said belongs to nobody.
        for (const { lease } of batches) if (!held.has(lease)) this.close(lease)
        this.#sent(batches)
      },
      // A full disk: the events stay pending and go with the next flush.
      () => this.#sent(batches),
    )
  }

  #forget(lease: string, storedSeq: number): void {
    const page = this.#pages.get(lease)
    if (page === undefined) return
    page.pending = page.pending.filter((event) => {
      if (event.seq > storedSeq) return true
      this.#pendingBytes -= sizeOf(event)
      return false
    })
    this.#options.onStored(lease, storedSeq)
  }

  #sent(batches: EventBatch[]): void {
    for (const { lease } of batches) {
      const page = this.#pages.get(lease)
      if (page === undefined) continue
      page.sending = false
      if (page.pending.length > 0) this.#dirty.add(lease)
    }
    if (this.#dirty.size > 0) this.#schedule()
  }

  #schedule(): void {
    if (this.#stopped) return
    this.#timer ??= this.#clock.setTimeout(() => this.#flushAll(), this.#options.flushEveryMs)
  }

  #tell(requestId: string): void {
    const listeners = this.#listeners.get(requestId)
    if (listeners !== undefined) for (const listener of [...listeners]) listener()
  }
}

function sizeOf(event: AttemptEvent): number {
  if (event.kind === "log") {
    return 64 + event.message.length + JSON.stringify(event.labels ?? {}).length
  }
  return 64
}

function isAfter(attempt: number, seq: number, after: EventCursor | undefined): boolean {
  if (after === undefined) return true
  return attempt > after.attempt || (attempt === after.attempt && seq > after.seq)
}

function inOrder(a: StoredEvent, b: StoredEvent): number {
  return a.attempt - b.attempt || a.event.seq - b.event.seq
}
