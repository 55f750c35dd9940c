import type { DatabaseSync, StatementSync } from "node:sqlite"
import { defaultConfig } from "../../config.ts"
import type { RequestRecord } from "../../domain/request.ts"
import type { IdempotencySettings } from "../../domain/idempotency.ts"
import { backoffMs, type RetryTiming } from "../../domain/retry.ts"
import { type Claim, StoreError } from "../../store.ts"
import {
  type Applied,
  type Operation,
  toFailure,
  type OperationResult,
  type Writers,
} from "./messages.ts"
import { migrate } from "./migrations.ts"
import { appWriters } from "./operations/apps.ts"
import { attemptWriters } from "./operations/attempts.ts"
import { DeliveryTable, deliveryWriters } from "./operations/deliveries.ts"
import { eventWriters } from "./operations/events.ts"
import { FileTable, fileWriters } from "./files/files.ts"
import { keyWriters } from "./operations/keys.ts"
import { Lanes } from "./operations/lanes.ts"
import { Pools } from "./operations/pools.ts"
import { RequestTable } from "./operations/request-table.ts"
import { requestWriters } from "./operations/requests.ts"
import { SessionTable, sessionWriters } from "./operations/sessions.ts"
import { startAtOnce } from "./operations/start-at-once.ts"
import { uploadWriters } from "./files/uploads.ts"
import { resultCode, resultCodes } from "./connection.ts"
import { pruningWriters } from "./pruning.ts"
import { Repeats, repeatWriters } from "./repeats.ts"
import { TurnCounts } from "./turn-counts.ts"

/** What the writes of one engine share. */
export interface EngineContext {
  requests: RequestTable
  repeats: Repeats
  sessions: SessionTable
  files: FileTable
  lanes: Lanes
  pools: Pools
  /** Epoch milliseconds, the same throughout a batch. */
  now: () => number
  monotonic: () => number
  /** How long the attempt after the current one would have to wait. */
  backoffMs: (record: RequestRecord) => number
}

export interface EngineOptions {
  /** Requests of one account that run at a time; 0: no limit. */
  concurrencyMax?: number
  retry?: RetryTiming
  idempotency?: IdempotencySettings
  /** In [0, 1). */
  random?: () => number
  /** Milliseconds since some moment; a slice of pruning ends by it. */
  monotonic?: () => number
}

/**
 * The synchronous heart: applies a batch of writes in one transaction, each in its own savepoint.
 *
 * A write that throws leaves no trace and fails alone. When the disk is full, the batch is rolled back and each of its
 * writes fails with `full`. Any other failure of the database is thrown: what was written is not known, nothing of
 * the batch may be answered, and the engine must not be used again.
 */
export class Engine {
  readonly #db: DatabaseSync
  readonly #counts: TurnCounts
  readonly #lanes: Lanes
  readonly #pools: Pools
  readonly #requests: RequestTable
  readonly #repeats: Repeats
  readonly #context: EngineContext
  readonly #writers: Writers
  readonly #statements: Record<
    "begin" | "commit" | "savepoint" | "release" | "rollbackTo" | "changes",
    StatementSync
  >
  #now = 0
  #commits = 0

  /** Brings the database to the current schema first. */
  constructor(db: DatabaseSync, options: EngineOptions = {}) {
    const { retry = defaultConfig.timing, random = Math.random, concurrencyMax = 0 } = options
    const { idempotency = defaultConfig.idempotency } = options
    const { monotonic = () => performance.now() } = options
    migrate(db)
    this.#db = db
    this.#counts = new TurnCounts(db)
    this.#lanes = new Lanes(db)
    const deliveries = new DeliveryTable(db)
    this.#pools = new Pools(db, concurrencyMax)
    this.#requests = new RequestTable(db, this.#counts, deliveries, this.#pools)
    this.#repeats = new Repeats(db, idempotency)
    const context: EngineContext = (this.#context = {
      requests: this.#requests,
      repeats: this.#repeats,
      sessions: new SessionTable(db),
      files: new FileTable(db),
      lanes: this.#lanes,
      pools: this.#pools,
      now: () => this.#now,
      monotonic,
      backoffMs: ({ attemptsCounted }) => backoffMs(retry, attemptsCounted, random()),
    })
    this.#writers = {
      ...appWriters(db),
      ...requestWriters(db, context),
      ...repeatWriters(context),
      ...attemptWriters(context),
      ...sessionWriters(context),
      ...eventWriters(db, context),
      ...fileWriters(db, context),
      ...uploadWriters(db, context),
      ...deliveryWriters(deliveries),
      ...keyWriters(db, context),
      ...pruningWriters(db, context),
    }
    this.#statements = {
      begin: db.prepare("BEGIN IMMEDIATE"),
      commit: db.prepare("COMMIT"),
      savepoint: db.prepare("SAVEPOINT operation"),
      release: db.prepare("RELEASE operation"),
      rollbackTo: db.prepare("ROLLBACK TO operation"),
      changes: db.prepare("SELECT total_changes() AS total"),
    }
  }

  apply(batch: Operation[], now: number): Applied {
    this.#now = now
    try {
      return this.#commit(batch)
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK")
      this.#counts.revert(0)
      this.#lanes.reset()
      this.#requests.revert(0)
      if (!isFull(error)) throw error
      const failure = toFailure(new StoreError("full", "No space is left for the database"))
      const results = batch.map((): OperationResult => ({ ok: false, failure }))
      this.#pools.drainFreed()
      return { results, changed: [], freed: [], commits: this.#commits }
    }
  }

  /** The last thing of a life that ends as it should. */
  end(): void {
    try {
      this.#repeats.end()
    } catch (error) {
      // A disk that is full or fails: the next life takes it for a crash, which costs nothing but a look at what came last.
      if (resultCode(error) === null) throw error
    }
  }

  /** Folds the write-ahead log into the database file and empties it. */
  checkpoint(): void {
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
  }

  #commit(batch: Operation[]): Applied {
    const before = this.#totalChanges()
    this.#statements.begin.run()
    const results = this.#attemptAll(batch)
    this.#counts.flush()
    this.#lanes.flush()
    this.#statements.commit.run()
    // A transaction that changed nothing has nothing to flush.
    if (this.#totalChanges() !== before) this.#commits += 1
    const freed = this.#pools.drainFreed()
    return { results, changed: this.#requests.drain(), freed, commits: this.#commits }
  }

  #attemptAll(batch: Operation[]): OperationResult[] {
    const results: OperationResult[] = []
    for (let index = 0; index < batch.length; index = results.length) {
      const [operation, next] = batch.slice(index, index + 2)
      const claim = this.#startAtOnce(operation, next)
      if (claim !== null)
        results.push({ ok: true, value: claim.request }, { ok: true, value: [claim] })
      else if (operation !== undefined) results.push(this.#attempt(() => this.#perform(operation)))
    }
    return results
  }

  /** Most submits find a free runner, and the claim that goes to it stands behind them. Null: each by itself. */
  #startAtOnce(submit: Operation | undefined, claim: Operation | undefined): Claim | null {
    if (submit?.name !== "submit" || claim?.name !== "claim") return null
    const [request] = submit.arguments
    const [order] = claim.arguments
    const result = this.#attempt(() => startAtOnce(this.#context, request, order))
    // What cannot be done for both is tried for each, so that only one of them fails.
    return result.ok ? (result.value as Claim | null) : null
  }

  #attempt(work: () => unknown): OperationResult {
    const marks = [this.#counts.mark(), this.#lanes.mark(), this.#requests.mark()] as const
    this.#statements.savepoint.run()
    try {
      const value = work()
      this.#statements.release.run()
      return { ok: true, value }
    } catch (error) {
      if (!failsAlone(error)) throw error
      this.#statements.rollbackTo.run()
      this.#statements.release.run()
      this.#counts.revert(marks[0])
      this.#lanes.revert(marks[1])
      this.#requests.revert(marks[2])
      return { ok: false, failure: toFailure(error) }
    }
  }

  #perform(operation: Operation): unknown {
    const write = this.#writers[operation.name] as (...input: unknown[]) => unknown
    return write(...operation.arguments)
  }

  #totalChanges(): number {
    return Number(this.#statements.changes.get()?.["total"])
  }
}

function isFull(error: unknown): boolean {
  return resultCode(error) === resultCodes.full
}

/** True for what one write can be blamed for; false for what says that the database itself is in trouble. */
function failsAlone(error: unknown): boolean {
  const code = resultCode(error)
  const { error: statement, tooBig, constraint, mismatch, range } = resultCodes
  return code === null || [statement, tooBig, constraint, mismatch, range].includes(code)
}
