import type { DatabaseSync, StatementSync } from "node:sqlite"
import { doorPolicies } from "../../../domain/door.ts"
import type { NewRequest, RequestRecord } from "../../../domain/request.ts"
import { StoreError, type KeyLimits } from "../../../store.ts"

/** Of a request that no limit holds. */
export const noPool = ""

/** Holds a place under the limit: it runs, or it was let in because it may run at once. */
const taken = "(state = 'running' OR (state = 'queued' AND door <> 'queue'))"

/** Of a request in its queue. */
type Place = Pick<RequestRecord, "app" | "account" | "turn" | "sequence">

interface Head {
  turn: number
  sequence: number
}

/**
 * Concurrency: which requests share a limit, and which of them may start. A pool is an account's requests, or those of one
 * of its keys that narrows the limit, and holds what was submitted while there was a limit.
 *
 * Owns the rows of `pool_heads`: for each pool that waits in an app, its first request, and whether the pool is ready, that
 * is below its limits. A claim looks at the ready heads only, so the queue of an account at its limit is one row to it,
 * however long it is. Invariant, after every write: `ready` agrees with what runs, and each head is its pool's first.
 */
export class Pools {
  readonly #concurrencyMax: number
  readonly #readKeyLimits: StatementSync
  readonly #countAccount: Record<"running" | "taken", StatementSync>
  readonly #countPool: Record<"running" | "taken", StatementSync>
  readonly #join: StatementSync
  readonly #next: StatementSync
  readonly #isHead: StatementSync
  readonly #move: StatementSync
  readonly #remove: StatementSync
  readonly #readyHead: StatementSync
  readonly #headsOfAccount: StatementSync
  readonly #mark: StatementSync
  readonly #waitingAccounts: StatementSync
  #freed: string[] = []

  constructor(db: DatabaseSync, concurrencyMax: number) {
    this.#concurrencyMax = concurrencyMax
    this.#readKeyLimits = db.prepare("SELECT limits FROM keys WHERE id = ?")
    const count = (where: string) =>
      db.prepare(`SELECT count(*) AS count FROM requests INDEXED BY requests_pool_taken
        WHERE pool <> '' AND ${where}`)
    this.#countAccount = {
      running: count(`${taken} AND state = 'running' AND account = ?`),
      taken: count(`${taken} AND account = ?`),
    }
    this.#countPool = {
      running: count(`${taken} AND state = 'running' AND account = ? AND pool = ?`),
      taken: count(`${taken} AND account = ? AND pool = ?`),
    }
    this.#join = db.prepare(`
      INSERT INTO pool_heads (app, pool, account, turn, sequence, ready) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET turn = excluded.turn, sequence = excluded.sequence
      WHERE (excluded.turn, excluded.sequence) < (turn, sequence)`)
    this.#next = db.prepare(`
      SELECT turn, sequence FROM requests INDEXED BY requests_pool_queue
      WHERE state = 'queued' AND held = 0 AND app = ? AND pool = ? ORDER BY turn, sequence LIMIT 1`)
    this.#isHead = db.prepare(
      "SELECT 1 FROM pool_heads WHERE app = ? AND pool = ? AND sequence = ?",
    )
    this.#move = db.prepare(
      "UPDATE pool_heads SET turn = ?, sequence = ? WHERE app = ? AND pool = ?",
    )
    this.#remove = db.prepare("DELETE FROM pool_heads WHERE app = ? AND pool = ?")
    this.#readyHead = db.prepare(`
      SELECT turn, sequence FROM pool_heads
      WHERE ready = 1 AND app = ? ORDER BY turn, sequence LIMIT 1`)
    this.#headsOfAccount = db.prepare("SELECT app, pool, ready FROM pool_heads WHERE account = ?")
    this.#mark = db.prepare("UPDATE pool_heads SET ready = ? WHERE app = ? AND pool = ?")
    this.#waitingAccounts = db.prepare(`
      SELECT DISTINCT account FROM pool_heads WHERE ready = 0 OR account IN (
        SELECT account FROM requests INDEXED BY requests_pool_taken
        WHERE pool <> '' AND ${taken} AND state = 'running')`)
  }

  /** The pool of a new request. Throws `limited` when its door does not wait and there is no place for it. */
  enter(request: NewRequest): string {
    const { account, door } = request
    const pool = this.poolOf(request)
    if (pool === noPool) return noPool
    if (!doorPolicies[door].waitsItsTurn && !this.#hasRoom("taken", account, pool)) {
      throw new StoreError("limited", `Account ${account} is at its limit of concurrent requests`)
    }
    return pool
  }

  /** What limits a new request; `noPool`: nothing does. */
  poolOf({ account, key = null }: NewRequest): string {
    const keyMax = key === null ? null : this.#keyMax(key)
    if (keyMax !== null) return `${account}/${key}`
    return this.#concurrencyMax === 0 ? noPool : account
  }

  /** After the row of a request became one that may be claimed. */
  join(record: Place, pool: string): void {
    if (pool === noPool) return
    const { app, account, turn, sequence } = record
    this.#join.run(app, pool, account, turn, sequence, this.#isReady(account, pool))
  }

  /** After the row of a request went from one state to another. */
  follow(before: RequestRecord, after: RequestRecord, pool: string): void {
    if (pool === noPool) return
    if (before.state === "queued" && after.state !== "queued") this.#leave(before, pool)
    // One that waits out its backoff joins when it is released.
    if (before.state !== "queued" && after.state === "queued" && after.notBefore === null) {
      this.join(after, pool)
    }
    if (before.state !== "running" && after.state === "running") this.#refresh(after.account)
    if (before.state === "running" && after.state !== "running") {
      this.#freed.push(...this.#refresh(after.account))
    }
  }

  #leave({ app, sequence }: RequestRecord, pool: string): void {
    if (this.#isHead.get(app, pool, sequence) === undefined) return
    const next = this.#next.get(app, pool) as unknown as Head | undefined
    if (next === undefined) this.#remove.run(app, pool)
    else this.#move.run(next.turn, next.sequence, app, pool)
  }

  /** The first queued request of an app among the pools that are below their limits. */
  readyHead(app: string): Head | null {
    return (this.#readyHead.get(app) as unknown as Head | undefined) ?? null
  }

  /** Another life of the server may have had other limits. */
  recover(): void {
    for (const { account } of this.#waitingAccounts.all()) this.#refresh(String(account))
  }

  /** Apps for `onFreed` since the last call. */
  drainFreed(): string[] {
    return this.#freed.splice(0)
  }

  /** Marks which pools of the account are ready; answers the apps in which one of them is. */
  #refresh(account: string): string[] {
    const heads = this.#headsOfAccount.all(account) as unknown as {
      app: string
      pool: string
      ready: number
    }[]
    const ready = new Map<string, number>()
    for (const { pool } of heads) {
      if (!ready.has(pool)) ready.set(pool, this.#isReady(account, pool))
    }
    for (const head of heads) {
      const now = ready.get(head.pool) ?? 0
      if (now !== head.ready) this.#mark.run(now, head.app, head.pool)
    }
    return heads.filter(({ pool }) => ready.get(pool) === 1).map(({ app }) => app)
  }

  #isReady(account: string, pool: string): number {
    return this.#hasRoom("running", account, pool) ? 1 : 0
  }

  #hasRoom(what: "running" | "taken", account: string, pool: string): boolean {
    const ofAccount = this.#concurrencyMax
    if (ofAccount > 0 && countOf(this.#countAccount[what].get(account)) >= ofAccount) return false
    const key = pool === account ? null : pool.slice(account.length + 1)
    const ofKey = key === null ? null : this.#keyMax(key)
    return ofKey === null || countOf(this.#countPool[what].get(account, pool)) < ofKey
  }

  #keyMax(key: string): number | null {
    const row = this.#readKeyLimits.get(key)
    return row === undefined
      ? null
      : (JSON.parse(String(row["limits"])) as KeyLimits).concurrencyMax
  }
}

function countOf(row: Record<string, unknown> | undefined): number {
  return Number(row?.["count"] ?? 0)
}
