import type { DatabaseSync, StatementSync } from "node:sqlite"
import { openWriter } from "../../packages/server/src/stores/sqlite/connection.ts"
import { migrate } from "../../packages/server/src/stores/sqlite/migrations.ts"

/** Far more pages than a schedule needs. */
const pagesMax = 1_000_000

/**
 * The database that survives the crashes of a schedule. It is made once and emptied for the next schedule, and its
 * statements are prepared once: both together take longer than most schedules.
 */
export class SimulatedDisk {
  readonly db: DatabaseSync
  readonly #tables: string[]

  constructor() {
    this.db = openWriter(":memory:")
    migrate(this.db)
    this.db.exec("CREATE TABLE ballast (bytes BLOB)")
    const tables = this.db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
    this.#tables = tables.map(({ name }) => String(name))
    const prepare = this.db.prepare.bind(this.db)
    const prepared = new Map<string, StatementSync>()
    this.db.prepare = (sql) => {
      const known = prepared.get(sql) ?? prepare(sql)
      prepared.set(sql, known)
      return known
    }
  }

  /** As after the first migration. */
  clear(): void {
    this.freeSpace()
    const deletions = this.#tables.map((table) => `DELETE FROM ${table};`).join(" ")
    this.db.exec(`PRAGMA foreign_keys = OFF; BEGIN; ${deletions} COMMIT; PRAGMA foreign_keys = ON`)
  }

  /** Not one more page: what needs one fails as on a full disk. */
  fillUp(): void {
    const free = this.db.prepare("PRAGMA freelist_count")
    const insert = this.db.prepare("INSERT INTO ballast VALUES (zeroblob(4000))")
    while (Number(free.get()?.["freelist_count"]) > 0) insert.run()
    const pages = Number(this.db.prepare("PRAGMA page_count").get()?.["page_count"])
    this.db.exec(`PRAGMA max_page_count = ${pages}`)
  }

  freeSpace(): void {
    this.db.exec(`PRAGMA max_page_count = ${pagesMax}; DELETE FROM ballast`)
  }
}
