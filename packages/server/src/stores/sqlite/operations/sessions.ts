import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { SessionHello, SessionResumption } from "../../../store.ts"
import type { EngineContext } from "../engine.ts"
import type { Writers } from "../messages.ts"

/**
 * A dead session is remembered longer than any runner keeps its outcomes, and a day longer than requests are kept by
 * default, so that each of their attempts has its runner. A row takes some 200 bytes.
 */
const deadSessionMs = 31 * 24 * 60 * 60 * 1000
const deadSessionsMax = 100_000

/** Owns the rows of sessions, open and dead. A session that was closed never opens again. */
export class SessionTable {
  readonly #isOpen: StatementSync
  readonly #isDead: StatementSync
  readonly #isForeign: StatementSync
  readonly #write: StatementSync
  readonly #renew: StatementSync
  readonly #delete: StatementSync
  readonly #bury: StatementSync
  readonly #forget: StatementSync

  constructor(db: DatabaseSync) {
    this.#isOpen = db.prepare("SELECT 1 FROM sessions WHERE session = ?")
    this.#isDead = db.prepare("SELECT 1 FROM dead_sessions WHERE session = ?")
    this.#isForeign = db.prepare("SELECT 1 FROM sessions WHERE session = ? AND key_id IS NOT ?")
    this.#write = db.prepare(`
      INSERT INTO sessions (session, runner, apps, renewed_at, opened_at, key_id)
      VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET runner = excluded.runner, apps = excluded.apps,
        renewed_at = excluded.renewed_at`)
    this.#renew = db.prepare("UPDATE sessions SET renewed_at = ? WHERE session = ?")
    this.#delete = db.prepare("DELETE FROM sessions WHERE session = ?")
    this.#bury = db.prepare(`
      INSERT INTO dead_sessions (session, closed_at, runner, opened_at)
      SELECT asked.session, asked.closed_at, sessions.runner, sessions.opened_at
      FROM (SELECT ? AS session, ? AS closed_at) AS asked LEFT JOIN sessions USING (session)
      WHERE true ON CONFLICT DO NOTHING`)
    this.#forget = db.prepare(`
      DELETE FROM dead_sessions WHERE closed_at < ? OR rowid <= (
        SELECT max(rowid) - ? FROM dead_sessions)`)
  }

  isOpen(session: string): boolean {
    return this.#isOpen.get(session) !== undefined
  }

  isDead(session: string): boolean {
    return this.#isDead.get(session) !== undefined
  }

  /** Is it open, and another key's? */
  isForeign(session: string, key: string | null): boolean {
    return this.#isForeign.get(session, key) !== undefined
  }

  open(hello: SessionHello, now: number): void {
    const { session, runner, apps, key = null } = hello
    this.#write.run(session, JSON.stringify(runner), JSON.stringify(apps), now, now, key)
  }

  renew(session: string, now: number): void {
    this.#renew.run(now, session)
  }

  close(session: string, now: number): void {
    this.#bury.run(session, now)
    this.#delete.run(session)
    this.#forget.run(now - deadSessionMs, deadSessionsMax)
  }
}

/** Writes about the life of a session. */
export function sessionWriters({
  requests,
  sessions,
  now,
}: EngineContext): Pick<Writers, "openSession" | "renewSessions"> {
  function resume(hello: SessionHello): SessionResumption {
    const leases = new Set([...hello.held.map((held) => held.lease), ...hello.unacked])
    const running = requests.running(hello.session)
    const current = new Set(running.flatMap((record) => record.attempt?.lease ?? []))
    const keep: SessionResumption["keep"] = []
    const reassign: SessionResumption["reassign"] = []
    for (const record of running) {
      const lease = record.attempt?.lease
      if (lease !== undefined && leases.has(lease)) {
        const storedSeq = requests.find("sequence", record.sequence)?.stored_seq ?? 0
        keep.push({ lease, request: record, storedSeq })
      } else reassign.push(requests.toClaim(record))
    }
    const abandon = [...leases].filter((lease) => !current.has(lease))
    return { expired: false, keep, abandon, reassign }
  }

  return {
    openSession(hello) {
      const isForeign = sessions.isForeign(hello.session, hello.key ?? null)
      if (isForeign || sessions.isDead(hello.session)) {
        const leases = new Set([...hello.held.map((held) => held.lease), ...hello.unacked])
        return { expired: true, keep: [], abandon: [...leases], reassign: [] }
      }
      sessions.open(hello, now())
      return resume(hello)
    },

    renewSessions(renewed) {
      for (const session of renewed) sessions.renew(session, now())
    },
  }
}
