import type { Delivery, DeliveryTry } from "./domain/delivery.ts"
import type { Acl, FileLifecycle } from "./domain/files/object-lifecycle.ts"
import type { AttemptRecord, Body, NewRequest, RequestRecord } from "./domain/request.ts"
import type { PruneOrder, Pruned } from "./domain/retention.ts"
import type {
  Advance,
  AccountStorage,
  AppRow,
  CancelOrder,
  CancelResult,
  Claim,
  ClaimOrder,
  DeliveryPage,
  DueDelivery,
  DueOrder,
  EventBatch,
  EventCursor,
  FileRow,
  FoundRequests,
  KeyRow,
  NewKey,
  NewPart,
  PartResult,
  RecordedTry,
  RequestPage,
  SessionHello,
  SessionResumption,
  SessionRow,
  SettleResult,
  Settlement,
  StoredEvent,
  UploadEnd,
  UploadResult,
  UploadRow,
} from "./store-shapes.ts"

export type { AttemptResult, NewRequest } from "./domain/request.ts"
export type * from "./store-shapes.ts"

/**
 * Durable truth: apps, requests, attempts, sessions, files.
 *
 * Guarantees of every adapter; `stores/store.suite.ts` holds them:
 *
 * 1. A write's promise resolves after its effect is flushed. Nothing is visible to any read, nor told to
 *    `onCommit`, before that.
 * 2. Each write is one guarded transition, all or nothing. One that fails leaves no trace and fails alone,
 *    however many others were committed with it.
 * 3. Writes called in the same tick are committed together, in call order: `submit` then `claim` is one flush.
 * 4. Many claimers, one winner: a queued request is claimed by exactly one lease.
 * 5. Only the current lease can settle an attempt; the first terminal state wins and is final; the same
 *    settlement twice is `repeated`, or `stale` once a next attempt has begun, and changes nothing.
 * 6. Claims go in order of (turn, sequence) within an app; `positions` counts exactly the queued requests before.
 * 7. What a request becomes is decided in `domain/`, by pure functions; an adapter only persists it.
 * 8. `onCommit` gets the changed records after COMMIT, in commit order, before the writes' promises resolve.
 * 9. A terminal state and the delivery that it owes are one commit; there is no delivery before.
 *
 * 10. A request that waits out its backoff keeps its turn, counts in positions, holds up nobody behind it and is not
 *     claimed before it is due; a queued request whose start deadline has passed is never claimed.
 *
 * 11. At most as many pooled requests of an account, and of a key that narrows it, run at a time as the limit in force
 *     when they were submitted says; those over it wait in the queue, in their order, and hold up nobody else.
 *
 * 12. Walking the pages of a list meets each row that was there at the start once, however many are added meanwhile.
 *
 * 13. A submit with an identity finds, in the transaction that would take it, what its key stands for or an identical one
 *     that is lost, which is not lost any more: however many come at once, one request is made.
 *
 * 14. Nothing is removed of a request that has not ended, nor of one whose delivery is pending. What was removed is unknown to
 *     every call, and its blobs are told once, when no row names them any more.
 *
 * 15. An upload becomes one file, once: of several ends at a time one adds it. Until then no read shows anything of it, and its
 *     parts are kept; a file consists of exactly the parts that were listed and came.
 *
 * 16. `storage(account).bytes` is at every commit the sum of the account's files and parts, and no upload takes it above the
 *     limit that it came with.
 *
 * Errors: `StoreError` with code `full` (no disk space or the batch queue is at its limit: nothing was
 * written, try later), `limited`, `over_quota`, `closed`, or `corrupt`. A COMMIT that fails for another reason is fatal: nothing of the batch is
 * answered and `onFatal` is called.
 */
export interface Store extends StoreReads {
  /** Adds the app or replaces it (same id); a row whose content is the same keeps its revision. */
  putApp(app: AppRow): Promise<void>
  /**
   * A new request, queued at its turn, or running when a claim of the same tick took it; or the one that this submit repeats,
   * which has another id and stays as it is. Rejects when `id` exists (a bug of the caller), with `key_reused` when its key stands for another body, and with `queue_too_long`,
   * in the same transaction, when more than `queueLengthMax` requests of the app are queued; with `limited` when its door
   * does not wait and its account or key has as many requests on the way as may run.
   */
  submit(request: NewRequest): Promise<RequestRecord>
  /**
   * The answers of these submits cannot have arrived, as of now; each by the id that it gave, whatever request it got.
   * Resolves to the requests that are lost by it: what was named is not, nor what was submitted again since.
   */
  markLost(ids: string[]): Promise<string[]>
  /** Calls have named these requests: they are never lost again. Committed with the next write of another kind, for no flush. */
  markNamed(ids: string[]): Promise<void>
  /** Starts attempts on the heads of the queues, at most one a lease, apps taking turns in the order given. A session that is not open gets none. */
  claim(order: ClaimOrder): Promise<Claim[]>
  /** Writes an attempt's result: a terminal state, or back to the queue as the domain decides. */
  settle(settlement: Settlement): Promise<SettleResult>
  /** Removes a queued request or marks a running one; durable. See `CancelResult`. */
  cancel(order: CancelOrder): Promise<CancelResult>
  /** Ends a request that is still queued with a platform error; false when it is not queued any more. */
  failQueued(
    id: string,
    errorType: "runner_scheduling_failure" | "startup_timeout",
  ): Promise<boolean>
  /**
   * Does what has become due: lets requests start whose backoff has passed, and ends those that did not start before
   * their deadline, so many at a time. A claim does the same for what it meets, so that being late costs latency only.
   */
  advance(): Promise<Advance>
  /** A runner's `hello`: creates or resumes its session and says what becomes of its attempts. */
  openSession(hello: SessionHello): Promise<SessionResumption>
  /** Pushes back the expiry of sessions that were heard from. */
  renewSessions(sessions: string[]): Promise<void>
  /**
   * Ends all running attempts of a session. `lost` (it expired or died): they count, the session is closed for
   * good. `stopped` (our own shutdown ended them): they do not count. Resolves to the number of attempts.
   */
  endAttempts(session: string, cause: "lost" | "stopped"): Promise<number>
  /**
   * Adds events to running attempts; resolves to the highest seq stored for each lease that is still held. Events
   * follow one another without a gap: behind a missing one nothing is taken, and the runner sends it all again.
   */
  appendEvents(batches: EventBatch[]): Promise<{ lease: string; storedSeq: number }[]>
  /** Rules of its ACL that name an account there is not are dropped. What an app has made is never over a limit. */
  addFile(file: FileRow): Promise<void>
  /** Resolves to the ACL as it is kept, without rules for accounts there are not; null when there is no such file. */
  setFileAcl(file: string, acl: Acl): Promise<Acl | null>
  /** Announces a file. Rejects with `limited` when the account has `uploadsMax` unfinished ones. */
  openUpload(upload: UploadRow, uploadsMax: number): Promise<void>
  /** A part that came before under its number is replaced. Rejects with `over_quota`. */
  addPart(part: NewPart): Promise<PartResult>
  /** The upload is over, and its file is there. Rejects with `over_quota`. */
  finishUpload(end: UploadEnd): Promise<UploadResult>
  /** Resolves to the settings as they are kept, without rules for accounts there are not. */
  setStorage(account: string, settings: FileLifecycle): Promise<FileLifecycle>
  /** Adds a key, and its account when there is none of that name. */
  createKey(key: NewKey): Promise<KeyRow>
  /** Ends a key for good; one that was revoked before keeps its time. Null when there is none. */
  revokeKey(id: string): Promise<KeyRow | null>
  /** Notes when keys were last used. Times only go forward; unknown ids are passed over. */
  touchKeys(uses: { id: string; at: number }[]): Promise<void>
  /** Writes a try, and what the delivery becomes by it. Nothing is written when the try of that number is there already. */
  recordTry(made: RecordedTry): Promise<Delivery | "unknown" | "repeated">
  /** Makes a request's delivery pending again, at once; null when it has none. */
  requeueDelivery(request: string): Promise<Delivery | null>
  /**
   * Removes one slice of what is past its retention, the oldest first: ended requests with all that belongs to them, the
   * payloads of others, expired files, uploads that were given up.
   */
  prune(order: PruneOrder): Promise<Pruned>
  /**
   * Start-up: ends what does not survive a restart (door policy); after a life that did not end in `close`, the submits of
   * its last moments are lost. Before anything else is called.
   */
  recover(): Promise<{ ended: number }>
  /** Commits what is pending and closes; the next life is not after a crash. Later calls reject with `closed`. */
  close(): Promise<void>
  /** Flushes the write-ahead log into the database file; for tests and idle time. */
  checkpoint(): Promise<void>
}

export interface StoreReads {
  app(id: string): Promise<AppRow | null>
  apps(): Promise<AppRow[]>
  request(id: string): Promise<RequestRecord | null>
  body(sequence: number, kind: "input" | "output"): Promise<Body | null>
  /** Stored events in order, those after the cursor. */
  events(sequence: number, after?: EventCursor): Promise<StoredEvent[]>
  /** Queued requests before each of these; null for one that is not queued. */
  positions(ids: string[]): Promise<(number | null)[]>
  queueLength(app: string): Promise<number>
  /** When `advance` has something to do, in epoch milliseconds; null: never, as things are. */
  nextDueAt(): Promise<number | null>
  appsWithWork(): Promise<string[]>
  sessions(): Promise<SessionRow[]>
  /** Who holds this lease, for a transfer: the running request it belongs to. */
  leaseHolder(lease: string): Promise<RequestRecord | null>
  file(name: string): Promise<FileRow | null>
  upload(file: string): Promise<UploadRow | null>
  storage(account: string): Promise<AccountStorage>
  key(id: string): Promise<KeyRow | null>
  /** Every key there ever was, the revoked ones too, the oldest first. */
  keys(): Promise<KeyRow[]>
  /** Is there a key that was not revoked? */
  anyKey(): Promise<boolean>
  /** Pending deliveries whose time has come, earliest first, at most `perOrigin` of one origin, none of those named. */
  dueDeliveries(order: DueOrder): Promise<DueDelivery[]>
  /** The delivery that a request owes or owed, and its tries in order. */
  delivery(request: string): Promise<{ delivery: Delivery; tries: DeliveryTry[] } | null>
  /** An account's deliveries, those of the newest requests first. */
  deliveries(page: DeliveryPage): Promise<Delivery[]>
  /**
   * An account's requests, the newest first. A page reads a bounded number of rows: one that is asked for few of many
   * may be short, even empty, while `next` says that there is more.
   */
  requests(page: RequestPage): Promise<FoundRequests>
  /** The attempts of a request that are on record, in order; the last one may run still. */
  attempts(sequence: number): Promise<AttemptRecord[]>
  /** Those of the names that no row refers to: what a sweep may delete. */
  unreferencedBlobs(names: string[]): Promise<string[]>
}

export interface StoreEvents {
  onCommit(changed: RequestRecord[]): void
  onFatal(error: Error): void
  /**
   * After `onCommit`: an app for each request that stopped running, where others that shared its limit may go now. A
   * hint: who does not hear it finds the work later.
   */
  onFreed?(apps: string[]): void
  /** After each batch: was it refused because there is no space? */
  onSpace?(isFull: boolean): void
}

export type StoreErrorCode =
  | "full"
  | "limited"
  | "closed"
  | "corrupt"
  | "queue_too_long"
  | "key_reused"
  | "over_quota"

export class StoreError extends Error {
  readonly code: StoreErrorCode

  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "StoreError"
    this.code = code
  }
}
