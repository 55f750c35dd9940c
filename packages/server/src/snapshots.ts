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
