import assert from "node:assert/strict"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { isTerminal } from "@tintype/protocol"
import type { Body, NewRequest, RequestRecord } from "../../../domain/request.ts"
import type { Transition } from "../../../domain/transitions.ts"
import { leftoversAtEnd } from "../../../domain/retention.ts"
import { comparePlaces } from "../../../domain/turn.ts"
import type { Claim } from "../../../store.ts"
import { fromBody, fromLeftovers, type RequestRow, toBody, toRecord } from "../rows.ts"
import type { TurnCounts } from "../turn-counts.ts"
import type { DeliveryTable } from "./deliveries.ts"
import { noPool, type Pools } from "./pools.ts"

/**
 * Where a note of the gateway stands among the events of its attempt: it is the last word, so it comes after
 * whatever the attempt said, stored or only heard, and a reader's cursor never passes it by.
 */
export const noteSeq = 2 ** 32

/**
 * Owns the rows of `requests`, `inputs` and `outputs` and what changed in them during a batch. Every change of a
 * request goes through `insert` or `save`, which keep the counts of the queue in step.
 */
export class RequestTable {
  readonly #counts: TurnCounts
  readonly #deliveries: DeliveryTable
  readonly #pools: Pools
  readonly #select: Record<"id" | "lease" | "sequence", StatementSync>
  readonly #head: StatementSync
  readonly #running: StatementSync
  readonly #release: Record<"ofApp" | "ofAll", StatementSync>
  readonly #overdue: StatementSync
  readonly #insert: StatementSync
  readonly #update: StatementSync
  readonly #insertInput: StatementSync
  readonly #readInput: StatementSync
  readonly #logBytes: StatementSync
  readonly #writeOutput: StatementSync
  readonly #writeNote: StatementSync
  readonly #writeAttempt: StatementSync
  #nextSequence: number
  #changed: RequestRecord[] = []
  /** What runs, by its lease, as of this point of the batch: the outcome of most comes soon. */
  readonly #runningByLease = new Map<string, RequestRecord>()

  constructor(db: DatabaseSync, counts: TurnCounts, deliveries: DeliveryTable, pools: Pools) {
    this.#counts = counts
    this.#deliveries = deliveries
    this.#pools = pools
    this.#select = {
      id: db.prepare("SELECT * FROM requests WHERE id = ?"),
      lease: db.prepare("SELECT * FROM requests WHERE lease = ?"),
      sequence: db.prepare("SELECT * FROM requests WHERE sequence = ?"),
    }
    this.#head = db.prepare(`
      SELECT * FROM requests INDEXED BY requests_pool_queue
      WHERE state = 'queued' AND held = 0 AND app = ? AND pool = '${noPool}'
      ORDER BY turn, sequence LIMIT 1`)
    this.#release = {
      ofApp: db.prepare(
        "UPDATE requests SET held = 0 WHERE held = 1 AND app = ? AND not_before <= ? RETURNING *",
      ),
      ofAll: db.prepare(
        "UPDATE requests SET held = 0 WHERE held = 1 AND not_before <= ? RETURNING *",
      ),
    }
    this.#overdue = db.prepare(`
      SELECT * FROM requests
      WHERE state = 'queued' AND start_deadline IS NOT NULL AND start_deadline <= ?
      ORDER BY start_deadline LIMIT ?`)
    this.#running = db.prepare("SELECT * FROM requests WHERE state = 'running' AND session = ?")
    this.#insert = db.prepare(`
      INSERT INTO requests (sequence, id, account, door, app, endpoint, path, priority, webhook, turn,
        state, attempts, attempts_counted, lease, session, started_at, no_retry, start_deadline, store_io,
        lifecycle, submitted_at, version, pool, fingerprint, resends_blindly)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#update = db.prepare(`
      UPDATE requests SET state = ?, attempts = ?, attempts_counted = ?, lease = ?, session = ?,
        started_at = ?, not_before = ?, held = ?, stored_seq = CASE WHEN attempts = ? THEN stored_seq ELSE 0 END,
        cancel_requested_at = ?, cancel_cause = ?, finished_at = ?, outcome = ?, version = ?,
        kept = ?
      WHERE sequence = ? AND version = ? RETURNING pool`)
    this.#insertInput = db.prepare(`
      INSERT INTO inputs (sequence, headers, file_base, bytes, blob, inline)
      VALUES (?, ?, ?, ?, ?, ?)`)
    this.#readInput = db.prepare("SELECT * FROM inputs WHERE sequence = ?")
    this.#logBytes = db.prepare(`
      SELECT COALESCE(SUM(octet_length(event ->> 'message')
        + COALESCE(octet_length(event ->> 'labels'), 0)), 0) AS bytes
      FROM events WHERE sequence = ? AND attempt < ? AND source = 'app'
        AND event ->> 'kind' = 'log'`)
    this.#writeOutput = db.prepare(
      "INSERT INTO outputs (sequence, bytes, blob, inline) VALUES (?, ?, ?, ?)",
    )
    this.#writeNote = db.prepare(`
      INSERT INTO events (sequence, attempt, seq, source, event) VALUES (?, ?, ?, 'gateway', ?)`)
    this.#writeAttempt = db.prepare(`
      INSERT INTO attempts (sequence, number, session, started_at, ended_at, reason, status, error_type)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#nextSequence = nextSequence(db)
  }

  /** A number for a new request; a gap is left where the insert was rolled back. */
  takeSequence(): number {
    return this.#nextSequence++
  }

  /** Throws `limited`; see `Pools`. */
  insert(record: RequestRecord, request: NewRequest): void {
    const pool = this.#pools.enter(request)
    this.#insertRow(record, request, pool)
    this.#counts.change(record, 1)
    this.#pools.join(record, pool)
  }

  /** A request that was never seen queued: no limit holds it, and its first attempt starts in this very write. */
  insertStarted(record: RequestRecord, request: NewRequest): void {
    this.#insertRow(record, request, noPool)
    this.#follow(null, record)
  }

  #insertRow(record: RequestRecord, request: NewRequest, pool: string): void {
    const sent = unkeyed(request)
    this.#insert.run(
      record.sequence,
      record.id,
      record.account,
      record.door,
      record.app,
      record.endpoint,
      record.path,
      record.priority,
      record.webhook,
      record.turn,
      record.state,
      record.attempts,
      record.attemptsCounted,
      record.attempt?.lease ?? null,
      record.attempt?.session ?? null,
      record.attempt?.startedAt ?? null,
      record.noRetry ? 1 : 0,
      record.startDeadline,
      record.storeIo ? 1 : 0,
      record.lifecycle === null ? null : JSON.stringify(record.lifecycle),
      record.submittedAt,
      record.version,
      pool,
      sent.fingerprint,
      sent.resendsBlindly ? 1 : 0,
    )
    const { bytes, blob, inline } = fromBody(request.input)
    const headers = JSON.stringify(request.headers)
    this.#insertInput.run(record.sequence, headers, request.fileBase, bytes, blob, inline)
    this.#changed.push(record)
  }

  /**
   * Writes what a record has become. `concludedBy` is the lease that wrote this: it stays on the row, so that
   * the same outcome sent again is recognised as its own. An attempt that ended stays in the row as history.
   */
  save(
    before: RequestRecord,
    after: RequestRecord,
    concludedBy: { lease: string; session: string } | null = null,
    output: Body | null = null,
  ): void {
    const last = after.attempt ?? before.attempt
    const row = this.#update.get(
      after.state,
      after.attempts,
      after.attemptsCounted,
      (after.attempt ?? concludedBy)?.lease ?? null,
      last?.session ?? null,
      last?.startedAt ?? null,
      after.notBefore,
      after.notBefore === null ? 0 : 1,
      after.attempts,
      after.cancelRequest?.at ?? null,
      after.cancelRequest?.cause ?? null,
      after.finishedAt,
      after.outcome === null ? null : JSON.stringify(after.outcome),
      after.version,
      isTerminal(after.state) ? fromLeftovers(leftoversAtEnd(after.storeIo, sizeOf(output))) : 0,
      before.sequence,
      before.version,
    )
    assert(row, `Request ${before.id} changed under its own transition`)
    const left = before.state === "queued" && after.state !== "queued"
    const joined = before.state !== "queued" && after.state === "queued"
    if (left) this.#counts.change(after, -1)
    if (joined) this.#counts.change(after, 1)
    this.#pools.follow(before, after, String(row["pool"]))
    this.#follow(before, after)
    this.#changed.push(after)
  }

  #follow(before: RequestRecord | null, after: RequestRecord): void {
    if (before !== null && before.attempt !== null) {
      this.#runningByLease.delete(before.attempt.lease)
    }
    if (after.attempt !== null) this.#runningByLease.set(after.attempt.lease, after)
  }

  /** The running request that a lease is of, where it is known without a look at its row. */
  heldBy(lease: string): RequestRecord | null {
    return this.#runningByLease.get(lease) ?? null
  }

  /** Writes a transition with all that belongs to it: the outcome's body, the delivery, the attempt that ended, the note on it. */
  saveTransition(
    before: RequestRecord,
    { record, output, note, requeued }: Transition,
    now: number,
    concludedBy: { lease: string; session: string } | null = null,
  ): void {
    this.save(before, record, concludedBy, output)
    if (output !== null) this.#writeBody(record.sequence, output)
    if (isTerminal(record.state)) this.#deliveries.owe(record)
    if (requeued !== null) {
      const { number, session, startedAt, endedAt, reason, status, errorType } = requeued
      const values = [session, startedAt, endedAt, reason, status, errorType]
      this.#writeAttempt.run(record.sequence, number, ...values)
    }
    if (note !== null) {
      const event = { seq: noteSeq, at: now, kind: "log", level: "INFO", message: note }
      this.#writeNote.run(record.sequence, record.attempts, noteSeq, JSON.stringify(event))
    }
  }

  find(column: "id" | "lease" | "sequence", value: string | number): RequestRow | null {
    return (this.#select[column].get(value) as unknown as RequestRow | undefined) ?? null
  }

  /** Queued requests of the app at this point of the batch. */
  queueLength(app: string): number {
    return this.#counts.queueLength(app)
  }

  /** Lets those start whose backoff has passed. No transition: the record says as much, given the time. */
  release(app: string, now: number): void {
    this.#released(this.#release.ofApp.all(app, now))
  }

  /** The same for every app; resolves to the app of each. */
  releaseAll(now: number): string[] {
    return this.#released(this.#release.ofAll.all(now)).map((row) => row.app)
  }

  /** Queued requests whose start deadline has passed, the earliest first. */
  overdue(now: number, limit: number): RequestRecord[] {
    return (this.#overdue.all(now, limit) as unknown as RequestRow[]).map(toRecord)
  }

  /** The queued request that is next in its app, among those that are not held back. */
  head(app: string): RequestRecord | null {
    const row = this.#head.get(app) as unknown as RequestRow | undefined
    const pooled = this.#pools.readyHead(app)
    if (pooled === null || (row !== undefined && comparePlaces(row, pooled) < 0)) {
      return row === undefined ? null : toRecord(row)
    }
    const found = this.find("sequence", pooled.sequence)
    assert(found, "A pool's head is a request")
    return toRecord(found)
  }

  running(session: string): RequestRecord[] {
    return (this.#running.all(session) as unknown as RequestRow[]).map(toRecord)
  }

  toClaim(request: RequestRecord): Claim {
    const row = this.#readInput.get(request.sequence) as unknown as {
      headers: string
      file_base: string
      bytes: number
      blob: string | null
      inline: Uint8Array | null
    }
    return {
      request,
      input: toBody(row),
      headers: JSON.parse(row.headers) as Record<string, string>,
      fileBase: row.file_base,
      logBytes: request.attempts > 1 ? this.#readLogBytes(request) : 0,
    }
  }

  #readLogBytes({ sequence, attempts }: RequestRecord): number {
    return Number(this.#logBytes.get(sequence, attempts)?.["bytes"])
  }

  mark(): number {
    return this.#changed.length
  }

  revert(mark: number): void {
    this.#changed.length = mark
    // What was undone is in the rows.
    this.#runningByLease.clear()
  }

  /** What changed since the last call: the last version of each record, in the order they were written. */
  drain(): RequestRecord[] {
    const last = new Map<string, RequestRecord>()
    for (const record of this.#changed) {
      last.delete(record.id)
      last.set(record.id, record)
    }
    this.#changed = []
    return [...last.values()]
  }

  #released(rows: unknown[]): RequestRow[] {
    const released = rows as RequestRow[]
    for (const row of released) this.#pools.join(row, row.pool)
    return released
  }

  #writeBody(sequence: number, body: Body): void {
    const { bytes, blob, inline } = fromBody(body)
    this.#writeOutput.run(sequence, bytes, blob, inline)
  }
}

function sizeOf(output: Body | null): number | null {
  return output === null ? null : fromBody(output).bytes
}

/** How it is recognised when it comes again without a key. */
function unkeyed({ identity }: NewRequest) {
  if (identity !== undefined && "fingerprint" in identity) return identity
  return { fingerprint: null, resendsBlindly: false }
}

/** AUTOINCREMENT remembers the largest sequence there ever was, also when its row is gone. */
function nextSequence(db: DatabaseSync): number {
  const row = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'requests'").get()
  return Number(row?.["seq"] ?? 0) + 1
}
