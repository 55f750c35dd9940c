import { closeSync, openSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

/**
 * Pages kept by the writing connection, which touches the whole queue; the reading one asks for single rows. The file is
 * not mapped as well: a reader's map goes with every commit, and to make it anew costs more than to read its pages.
 */
const writerCacheKibibytes = 64 * kibibyte
const readerCacheKibibytes = 16 * kibibyte
/** The log is folded into the database every 16 MiB, and cut back to this size then. */
const checkpointPages = 4096
const journalBytesMax = 64 * mebibyte
/** Only a backup or a person with a shell can hold the lock: nothing of ours writes beside the engine. */
const busyMs = 5_000

export interface ConnectionOptions {
  /** Largest size of the database in pages of 4 KiB, to try a full disk. */
  pagesMax?: number
}

/** The one connection that writes. The file is made 0600 before SQLite sees it; its log inherits that. */
export function openWriter(path: string, options: ConnectionOptions = {}): DatabaseSync {
  if (path !== ":memory:") closeSync(openSync(path, "a", 0o600))
  const db = new DatabaseSync(path, { timeout: busyMs, enableForeignKeyConstraints: true })
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA journal_size_limit = ${journalBytesMax};
    PRAGMA wal_autocheckpoint = ${checkpointPages};
    PRAGMA cache_size = -${writerCacheKibibytes};
    PRAGMA temp_store = MEMORY;
  `)
  if (options.pagesMax !== undefined) db.exec(`PRAGMA max_page_count = ${options.pagesMax}`)
  return db
}

/** A connection that sees what is committed and can change nothing. */
export function openReader(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly: true, timeout: busyMs })
  db.exec(`
    PRAGMA cache_size = -${readerCacheKibibytes};
    PRAGMA query_only = ON;
  `)
  return db
}

/** SQLite's primary result codes, https://sqlite.org/rescode.html; those that we tell apart. */
export const resultCodes = {
  error: 1,
  corrupt: 11,
  full: 13,
  tooBig: 18,
  constraint: 19,
  mismatch: 20,
  range: 25,
  notADatabase: 26,
}

/** The primary code of an error of `node:sqlite`; null for any other error. */
export function resultCode(error: unknown): number | null {
  if (typeof error !== "object" || error === null || !("errcode" in error)) return null
  return Number(error.errcode) & 0xff
}
