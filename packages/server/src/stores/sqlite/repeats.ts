import type { DatabaseSync, StatementSync } from "node:sqlite"
import {
  canBeLost,
  type IdempotencySettings,
  isFoundAgain,
  judgeKey,
  type SubmitIdentity,
  wasLostInCrash,
} from "../../domain/idempotency.ts"
import type { NewRequest, RequestRecord } from "../../domain/request.ts"
import { StoreError } from "../../store.ts"
import type { EngineContext } from "./engine.ts"
import type { Writers } from "./messages.ts"
import { type RequestRow, toRecord } from "./rows.ts"

/** What a repeat is recognised by, in the columns of its request. */
interface RepeatRow extends RequestRow {
  resends_blindly: number
  lost_at: number | null
  resubmitted_at: number | null
}

/** What a start looks at of them: the newest of all rows, read for three columns, as most cannot be lost. */
interface RecentRow {
  sequence: number
  submitted_at: number
  may_be_lost: number
}

/** More than a server takes in the window of a re-send; so a start after a crash waits a second for them at most. */
const recentMax = 250_000
/** More identical submits that are lost at the same time are not one call sent again. */
const candidatesMax = 64
/** Expired keys that each new one sweeps out: more than one, so that their number falls. */
const expiredMax = 2

/**
 * Owns the keys of requests, and in the rows of `requests` what a repeat is recognised by: `fingerprint`,
 * `resends_blindly`, `named`, `lost_at` (its newest copy was lost then), `resubmitted_at` and `newest_copy` (its newest
 * copy came then, under this id). Only lost rows are in the index that a submit looks into. In `lives` it keeps whether the last life of the store ended cleanly.
 */
export class Repeats {
  readonly #settings: IdempotencySettings
  readonly #key: Record<"find" | "unbind" | "bind" | "expire", StatementSync>
  readonly #lost: Record<"any" | "find" | "mark" | "clear", StatementSync>
  readonly #name: StatementSync
  readonly #ofCopy: StatementSync
  readonly #life: Record<"read" | "write", StatementSync>
  readonly #recent: Record<"died" | "submitted" | "one" | "resubmitted", StatementSync>
  #isLiving = false

  constructor(db: DatabaseSync, settings: IdempotencySettings) {
    this.#settings = settings
    this.#key = {
      find: db.prepare(`
        SELECT requests.*, body_hash, bound_at FROM idempotency_keys JOIN requests USING (sequence)
        WHERE idempotency_keys.account = ? AND idempotency_keys.endpoint = ? AND key = ?`),
      unbind: db.prepare(
        "DELETE FROM idempotency_keys WHERE account = ? AND endpoint = ? AND key = ?",
      ),
      bind: db.prepare(`
        INSERT INTO idempotency_keys (sequence, account, endpoint, key, body_hash, bound_at)
        VALUES (?, ?, ?, ?, ?, ?)`),
      expire: db.prepare(`
        DELETE FROM idempotency_keys WHERE sequence IN (
          SELECT sequence FROM idempotency_keys WHERE bound_at <= ? ORDER BY bound_at LIMIT ?)`),
    }
    this.#lost = {
      any: db.prepare(`
        SELECT sequence FROM requests WHERE fingerprint = ? AND lost_at >= ? LIMIT 1`),
      find: db.prepare(`
        SELECT * FROM requests WHERE fingerprint = ? AND lost_at >= ? ORDER BY lost_at, sequence LIMIT ?`),
      mark: db.prepare(
        "UPDATE requests SET lost_at = ? WHERE sequence = ? AND named = 0 AND fingerprint IS NOT NULL",
      ),
      clear: db.prepare(
        "UPDATE requests SET lost_at = NULL, resubmitted_at = ?, newest_copy = ? WHERE sequence = ?",
      ),
    }
    this.#name = db.prepare(`
      UPDATE requests SET named = 1, lost_at = NULL WHERE id = ? AND named = 0
        AND fingerprint IS NOT NULL`)
    this.#ofCopy = db.prepare(`
      SELECT * FROM requests WHERE newest_copy = ?1
      UNION ALL SELECT * FROM requests WHERE id = ?1 AND newest_copy IS NULL`)
    this.#life = {
      read: db.prepare("SELECT clean FROM lives"),
      write: db.prepare("UPDATE lives SET clean = ?"),
    }
    this.#recent = {
      died: db.prepare(`
        SELECT max(at) AS at FROM (
          SELECT submitted_at AS at FROM requests WHERE sequence = (SELECT max(sequence) FROM requests)
          UNION ALL SELECT max(resubmitted_at) FROM requests WHERE resubmitted_at IS NOT NULL
          UNION ALL SELECT max(renewed_at) FROM sessions)`),
      submitted: db.prepare(`
        SELECT sequence, submitted_at, fingerprint IS NOT NULL AND named = 0 AND lost_at IS NULL AS may_be_lost
        FROM requests ORDER BY sequence DESC LIMIT ${recentMax}`),
      one: db.prepare("SELECT * FROM requests WHERE sequence = ?"),
      resubmitted: db.prepare("SELECT * FROM requests WHERE resubmitted_at >= ?"),
    }
  }

  /** The request that this submit repeats; null: it is a new one. Throws `key_reused`. */
  find({ id, account, endpoint, identity }: NewRequest, now: number): RequestRecord | null {
    if (identity === undefined) return null
    if ("key" in identity) return this.#findByKey(account, endpoint, identity, now)
    return this.#settings.detectLost ? this.#findLost(id, identity.fingerprint, now) : null
  }

  /** False: it repeats no other, and `find` would say the same. */
  mayRepeat({ account, endpoint, identity }: NewRequest, now: number): boolean {
    if (identity === undefined) return false
    if ("key" in identity) return this.#key.find.get(account, endpoint, identity.key) !== undefined
    return this.#settings.detectLost && this.#isAnyLost(identity.fingerprint, now)
  }

  /** Remembers the key of a new request; the fingerprint is in its row. */
  bind(
    { sequence, account, endpoint }: RequestRecord,
    identity: SubmitIdentity,
    now: number,
  ): void {
    if (!("key" in identity)) return
    this.#key.expire.run(now - this.#settings.keyTtlMs, expiredMax)
    this.#key.unbind.run(account, endpoint, identity.key)
    this.#key.bind.run(sequence, account, endpoint, identity.key, identity.bodyHash, now)
  }

  /**
   * The newest copies of their requests that are lost, as of now, by the ids under which they were submitted; unless the
   * request was named or is recognised in another way. Resolves to the requests.
   */
  markLost(copies: string[], now: number): string[] {
    return copies.flatMap((copy) => {
      const row = this.#ofCopy.get(copy) as unknown as RepeatRow | undefined
      if (row === undefined || !canBeLost(toRecord(row))) return []
      return this.#lost.mark.run(now, row.sequence).changes > 0 ? [row.id] : []
    })
  }

  markNamed(ids: string[]): void {
    for (const id of ids) this.#name.run(id)
  }

  /** The latest time that an earlier life has written, to the nearest of what it wrote often; null: there was none. */
  lastWrittenAt(): number | null {
    const at = this.#recent.died.get()?.["at"]
    return typeof at === "number" ? at : null
  }

  /** A life begins. After one that a crash ended, what was submitted in its last moments counts as lost. */
  begin(): void {
    const wasClean = this.#life.read.get()?.["clean"] === 1
    if (!wasClean && this.#settings.detectLost) this.#markLostInCrash()
    if (wasClean) this.#life.write.run(0)
    this.#isLiving = true
  }

  /** It ends as it should: what was cut is marked already. */
  end(): void {
    if (this.#isLiving) this.#life.write.run(1)
    this.#isLiving = false
  }

  #findByKey(
    account: string,
    endpoint: string,
    { key, bodyHash }: Extract<SubmitIdentity, { key: string }>,
    now: number,
  ): RequestRecord | null {
    const row = this.#key.find.get(account, endpoint, key) as unknown as
      | (RequestRow & { body_hash: string; bound_at: number })
      | undefined
    if (row === undefined) return null
    const bound = { record: toRecord(row), bodyHash: row.body_hash, boundAt: row.bound_at }
    const verdict = judgeKey(bound, bodyHash, now, this.#settings.keyTtlMs)
    if (verdict === "other_body") {
      throw new StoreError("key_reused", "The key stands for another body")
    }
    return verdict === "same" ? bound.record : null
  }

  /** Its newest copy is open from now on; it may be lost again. */
  #findLost(copy: string, fingerprint: string, now: number): RequestRecord | null {
    const { resendWindowMs } = this.#settings
    if (!this.#isAnyLost(fingerprint, now)) return null
    const rows = this.#lost.find.all(fingerprint, now - resendWindowMs, candidatesMax)
    for (const row of rows as unknown as RepeatRow[]) {
      const record = toRecord(row)
      if (row.lost_at === null || !isFoundAgain(record, row.lost_at, now, resendWindowMs)) continue
      this.#lost.clear.run(now, copy, row.sequence)
      return record
    }
    return null
  }

  /** Nearly always there is none, and to ask for one column costs a fifth of asking for all. */
  #isAnyLost(fingerprint: string, now: number): boolean {
    return this.#lost.any.get(fingerprint, now - this.#settings.resendWindowMs) !== undefined
  }

  /**
   * When the server died is known to the nearest thing that it wrote. What it took within the window before is at the end of
   * the table, and what was submitted again in an index of its own.
   */
  #markLostInCrash(): void {
    const diedAt = this.lastWrittenAt()
    if (diedAt === null) return
    const { resendWindowMs } = this.#settings
    const since = diedAt - resendWindowMs
    const lost: number[] = []
    const judge = (row: RepeatRow) => {
      const copy = {
        record: toRecord(row),
        submittedAt: row.resubmitted_at ?? row.submitted_at,
        resendsBlindly: row.resends_blindly === 1,
      }
      const isLost = wasLostInCrash(copy, diedAt, resendWindowMs)
      if (isLost && row.lost_at === null) lost.push(row.sequence)
    }
    for (const row of this.#recent.submitted.iterate() as unknown as Iterable<RecentRow>) {
      if (row.submitted_at < since) break
      if (row.may_be_lost === 1) judge(this.#recent.one.get(row.sequence) as unknown as RepeatRow)
    }
    for (const row of this.#recent.resubmitted.all(since)) judge(row as unknown as RepeatRow)
    for (const sequence of lost) this.#lost.mark.run(diedAt, sequence)
  }
}

/** Writes that say what became of answers. */
export function repeatWriters({
  repeats,
  now,
}: EngineContext): Pick<Writers, "markLost" | "markNamed"> {
  return {
    markLost: (ids) => repeats.markLost(ids, now()),
    markNamed: (ids) => repeats.markNamed(ids),
  }
}
