import type { DatabaseSync } from "node:sqlite"
import { StoreError } from "../../store.ts"

/**
 * Every schema there ever was, as the steps between them: step n leads from version n to n + 1. A step that was
 * released is never edited.
 *
 * What makes the first one fast:
 * - `requests` is small: bodies, headers and log lines live elsewhere, so a change of state rewrites some 300 bytes.
 * - The queue, the running attempts of a session and the leases are partial indexes: each holds only its living rows.
 * - `lease` stays on a row after the lease concluded an attempt, so that a repeated outcome is recognised.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE apps (
    id TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE requests (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    door TEXT NOT NULL,
    app TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    path TEXT NOT NULL,
    priority TEXT NOT NULL,
    turn INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempts INTEGER NOT NULL,
    attempts_counted INTEGER NOT NULL,
    lease TEXT,
    session TEXT,
    started_at INTEGER,
    stored_seq INTEGER NOT NULL DEFAULT 0,
    cancel_requested_at INTEGER,
    cancel_cause TEXT,
    submitted_at INTEGER NOT NULL,
    finished_at INTEGER,
    outcome TEXT,
    version INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX requests_queue ON requests (app, turn, sequence, door) WHERE state = 'queued';
  CREATE INDEX requests_running ON requests (session) WHERE state = 'running';
  CREATE UNIQUE INDEX requests_lease ON requests (lease) WHERE lease IS NOT NULL;

  CREATE TABLE inputs (
    sequence INTEGER PRIMARY KEY REFERENCES requests (sequence) ON DELETE CASCADE,
    headers TEXT NOT NULL,
    file_base TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    blob TEXT,
    inline BLOB
  ) STRICT;
  CREATE INDEX inputs_blob ON inputs (blob) WHERE blob IS NOT NULL;

  CREATE TABLE outputs (
    sequence INTEGER PRIMARY KEY REFERENCES requests (sequence) ON DELETE CASCADE,
    bytes INTEGER NOT NULL,
    blob TEXT,
    inline BLOB
  ) STRICT;
  CREATE INDEX outputs_blob ON outputs (blob) WHERE blob IS NOT NULL;

  CREATE TABLE events (
    sequence INTEGER NOT NULL REFERENCES requests (sequence) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('app', 'gateway')),
    event TEXT NOT NULL,
    PRIMARY KEY (sequence, attempt, seq, source)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE clocks (
    app TEXT PRIMARY KEY,
    clock INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE lanes (
    app TEXT NOT NULL,
    account TEXT NOT NULL,
    priority TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (app, account, priority)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX lanes_last ON lanes (app, last);

  CREATE TABLE turn_counts (
    app TEXT NOT NULL,
    level INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    block INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    split INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app, level, turn, block)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE sessions (
    session TEXT PRIMARY KEY,
    runner TEXT NOT NULL,
    apps TEXT NOT NULL,
    renewed_at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE dead_sessions (
    session TEXT PRIMARY KEY,
    closed_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX dead_sessions_closed_at ON dead_sessions (closed_at);

  CREATE TABLE files (
    name TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    request TEXT,
    created_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX files_blob ON files (blob);
  `,
]

/** The schema that this build reads and writes. */
export const schemaVersion = migrations.length

/**
 * Brings the database to `schemaVersion`, one transaction a step, so that a crash leaves a whole older schema.
 * Throws `StoreError("corrupt")` for a database that a newer build has written: its rows may mean something else.
 */
export function migrate(db: DatabaseSync): void {
  const found = Number(db.prepare("PRAGMA user_version").get()?.["user_version"])
  if (found > schemaVersion) {
    throw new StoreError(
      "corrupt",
      `The database has schema ${found}, written by a newer Tintype; this one knows up to ${schemaVersion}`,
    )
  }
  for (const [index, step] of migrations.slice(found).entries()) {
    db.exec(`BEGIN IMMEDIATE; ${step}; PRAGMA user_version = ${found + index + 1}; COMMIT`)
  }
}
