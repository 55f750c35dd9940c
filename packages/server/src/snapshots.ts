import type { AttemptEvent } from "@tintype/protocol"
import type { RequestRecord } from "./domain/request.ts"
import type { EventCursor, StoredEvent } from "./store.ts"

/**
 * What is known of requests right now, for those who ask often or wait: committed records only. Filled by the
 * store's `onCommit`, bounded, and a miss is one primary-key read.
 */
export interface Snapshots {
  get(id: string): Promise<RequestRecord | null>
  /** Called after every committed change of the request, until the returned function is called. */
  watch(id: string, listener: (record: RequestRecord) => void): () => void
  /** Resolves when the request is terminal, when `timeoutMs` has passed or the signal aborts. */
  untilTerminal(
    id: string,
    options: { timeoutMs?: number; signal?: AbortSignal },
  ): Promise<RequestRecord | null>
}

/** What running attempts say: visible at once, stored in batches. Reads merge what is stored and what is not yet. */
export interface EventFeed {
  read(record: RequestRecord, after?: EventCursor): Promise<StoredEvent[]>
  /** Called when there may be something new to `read`, until the returned function is called. */
  watch(requestId: string, listener: () => void): () => void
  /** The newest progress of a running attempt; in memory only. */
  progress(requestId: string): Extract<AttemptEvent, { kind: "progress" }> | null
}

/**
 * The way of an answer's chunks from a running attempt to the caller who reads along. In memory alone: what a caller missed is
 * in the result.
 */
export interface Relay {
  /**
   * From now on the chunks of this request come here; whoever read before gets no more. `onChunk` is called when there may be
   * something for `next`.
   */
  read(requestId: string, onChunk: () => void): ChunkReader
}

export interface ChunkReader {
  /** The next chunk, JSON; null: there is none now. Once `taken` is called, its app may go on. */
  next(): Uint8Array | null
  /** What `next` has given is on its way to the caller. */
  taken(): void
  /** Nobody reads any more: what comes is let go of, and the app does not wait. */
  close(): void
}
