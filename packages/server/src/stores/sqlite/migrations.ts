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
  // Webhooks. What is pending is a partial index by origin: the due ones of each are its first rows.
  `
  ALTER TABLE requests ADD COLUMN webhook TEXT;

  CREATE TABLE deliveries (
    sequence INTEGER PRIMARY KEY REFERENCES requests (sequence) ON DELETE CASCADE,
    request TEXT NOT NULL,
    account TEXT NOT NULL,
    url TEXT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'exhausted')),
    tries INTEGER NOT NULL,
    tries_in_round INTEGER NOT NULL,
    next_at INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
  ) STRICT;
  CREATE INDEX deliveries_due ON deliveries (origin, next_at, sequence) WHERE state = 'pending';
  CREATE INDEX deliveries_account ON deliveries (account, sequence);

  CREATE TABLE delivery_tries (
    sequence INTEGER NOT NULL REFERENCES deliveries (sequence) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,
    answer TEXT NOT NULL,
    error TEXT,
    detail TEXT,
    PRIMARY KEY (sequence, number)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE requests ADD COLUMN no_retry INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE requests ADD COLUMN not_before INTEGER;
  ALTER TABLE requests ADD COLUMN start_deadline INTEGER;
  -- Whether it waits for not_before. Such rows have an index of their own, so that a claim never walks over them.
  ALTER TABLE requests ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
  DROP INDEX requests_queue;
  CREATE INDEX requests_queue ON requests (app, turn, sequence, door)
    WHERE state = 'queued' AND held = 0;
  CREATE INDEX requests_held ON requests (app, turn, sequence) WHERE state = 'queued' AND held = 1;
  CREATE INDEX requests_due ON requests (not_before, app) WHERE held = 1;
  CREATE INDEX requests_deadline ON requests (start_deadline)
    WHERE state = 'queued' AND start_deadline IS NOT NULL;
  `,
  // Accounts, keys and limits. A pool is the requests that share a limit: an account's, or those of a key that narrows it;
  // '' is no limit. Of each pool that waits in an app, only its head is a candidate, and only while the pool is ready: so a
  // claim never reads past the queue of an account that is at its limit.
  `
  CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name),
    scope TEXT NOT NULL CHECK (scope IN ('api', 'admin', 'runner')),
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    apps TEXT NOT NULL,
    limits TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    last_used_at INTEGER,
    version INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX keys_in_use ON keys (id) WHERE revoked_at IS NULL;

  ALTER TABLE requests ADD COLUMN pool TEXT NOT NULL DEFAULT '';
  CREATE INDEX requests_pool_queue ON requests (app, pool, turn, sequence)
    WHERE state = 'queued' AND held = 0;
  CREATE INDEX requests_pool_taken ON requests (account, pool)
    WHERE pool <> '' AND (state = 'running' OR (state = 'queued' AND door = 'run'));

  CREATE TABLE pool_heads (
    app TEXT NOT NULL,
    pool TEXT NOT NULL,
    account TEXT NOT NULL,
    turn INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    ready INTEGER NOT NULL,
    PRIMARY KEY (app, pool)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX pool_heads_ready ON pool_heads (app, turn, sequence) WHERE ready = 1;
  CREATE INDEX pool_heads_account ON pool_heads (account);
  `,
  // The history of requests: which attempts went back to the queue, and which runner made each. The last attempt of a
  // request is its row's own session and started_at, so that one that succeeds at once costs no row more.
  // A list is in order of arrival, which is the row id; those that ended badly are few, and looked for often.
  `
  CREATE TABLE attempts (
    sequence INTEGER NOT NULL REFERENCES requests (sequence) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    session TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('lost', 'stopped', 'timed_out', 'unhosted', 'transient')),
    status INTEGER,
    error_type TEXT,
    PRIMARY KEY (sequence, number)
  ) STRICT, WITHOUT ROWID;

  ALTER TABLE sessions ADD COLUMN opened_at INTEGER;
  ALTER TABLE dead_sessions ADD COLUMN runner TEXT;
  ALTER TABLE dead_sessions ADD COLUMN opened_at INTEGER;

  CREATE INDEX requests_account ON requests (account);
  CREATE INDEX requests_ended_badly ON requests (account, state)
    WHERE state = 'failed' OR state = 'cancelled';
  `,
  // Retention. `kept` says what is still there of an ended request, and `owed` that its webhook is not told yet: requests of
  // one `kept` go at the same age, so that what is due is the head of a range of the index, whatever the settings are.
  `
  ALTER TABLE requests ADD COLUMN store_io INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE requests ADD COLUMN lifecycle TEXT;
  ALTER TABLE requests ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE requests ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;
  UPDATE requests SET kept = 1 + 2 * EXISTS (
      SELECT 1 FROM outputs WHERE outputs.sequence = requests.sequence),
    owed = EXISTS (SELECT 1 FROM deliveries
      WHERE deliveries.sequence = requests.sequence AND deliveries.state = 'pending')
  WHERE finished_at IS NOT NULL;
  CREATE INDEX requests_kept ON requests (kept, finished_at)
    WHERE finished_at IS NOT NULL AND owed = 0;

  ALTER TABLE files ADD COLUMN expires_at INTEGER;
  ALTER TABLE files ADD COLUMN acl TEXT;
  CREATE INDEX files_expiry ON files (expires_at, name) WHERE expires_at IS NOT NULL;
  `,
  // Idempotency: the keys that callers gave, and how a blind re-send of a lost submit is recognised. Only lost rows are in the
  // index of fingerprints. `clean` says whether the last life of the server closed its store.
  `
  ALTER TABLE requests ADD COLUMN fingerprint TEXT;
  ALTER TABLE requests ADD COLUMN resends_blindly INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE requests ADD COLUMN named INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE requests ADD COLUMN lost_at INTEGER;
  ALTER TABLE requests ADD COLUMN resubmitted_at INTEGER;
  ALTER TABLE requests ADD COLUMN newest_copy TEXT;
  CREATE UNIQUE INDEX requests_newest_copy ON requests (newest_copy) WHERE newest_copy IS NOT NULL;
  CREATE INDEX requests_lost ON requests (fingerprint, lost_at) WHERE lost_at IS NOT NULL;
  CREATE INDEX requests_resubmitted ON requests (resubmitted_at) WHERE resubmitted_at IS NOT NULL;

  CREATE TABLE idempotency_keys (
    sequence INTEGER PRIMARY KEY REFERENCES requests (sequence) ON DELETE CASCADE,
    account TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    bound_at INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX idempotency_keys_key ON idempotency_keys (account, endpoint, key);
  CREATE INDEX idempotency_keys_bound_at ON idempotency_keys (bound_at);

  CREATE TABLE lives (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    clean INTEGER NOT NULL
  ) STRICT;
  INSERT INTO lives (one, clean) VALUES (1, 1);
  `,
  // Whose a session is, so that a link which another key opened does not take it over, across restarts too.
  `
  ALTER TABLE sessions ADD COLUMN key_id TEXT;
  `,
  // Uploads. A file is a list of blobs, so that its parts need not be copied into one. What an account stores is summed up by
  // triggers: rows go in many ways, the cascades of foreign keys among them, and none of them can forget it.
  `
  CREATE TABLE file_blobs (
    file TEXT NOT NULL REFERENCES files (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (file, number)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO file_blobs (file, number, blob, bytes) SELECT name, 1, blob, bytes FROM files;
  CREATE INDEX file_blobs_blob ON file_blobs (blob);
  DROP INDEX files_blob;
  ALTER TABLE files DROP COLUMN blob;

  CREATE TABLE uploads (
    file TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    content_type TEXT NOT NULL,
    multipart INTEGER NOT NULL,
    bytes_max INTEGER NOT NULL,
    lifecycle TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX uploads_account ON uploads (account);
  CREATE INDEX uploads_expiry ON uploads (expires_at, file);

  CREATE TABLE upload_parts (
    file TEXT NOT NULL REFERENCES uploads (file) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    account TEXT NOT NULL,
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    etag TEXT NOT NULL,
    PRIMARY KEY (file, number)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX upload_parts_blob ON upload_parts (blob);

  CREATE TABLE storage (
    account TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL DEFAULT 0,
    settings TEXT
  ) STRICT, WITHOUT ROWID;
  INSERT INTO storage (account, bytes) SELECT account, sum(bytes) FROM files GROUP BY account;
  CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
    INSERT INTO storage (account, bytes) VALUES (new.account, new.bytes)
    ON CONFLICT (account) DO UPDATE SET bytes = bytes + excluded.bytes;
  END;
  CREATE TRIGGER files_removed AFTER DELETE ON files BEGIN
    UPDATE storage SET bytes = bytes - old.bytes WHERE account = old.account;
  END;
  CREATE TRIGGER upload_parts_added AFTER INSERT ON upload_parts BEGIN
    INSERT INTO storage (account, bytes) VALUES (new.account, new.bytes)
    ON CONFLICT (account) DO UPDATE SET bytes = bytes + excluded.bytes;
  END;
  CREATE TRIGGER upload_parts_removed AFTER DELETE ON upload_parts BEGIN
    UPDATE storage SET bytes = bytes - old.bytes WHERE account = old.account;
  END;
  `,
  // A stream has a caller who waits, as a run has: what is not the queue's holds its place from its submit on.
  `
  DROP INDEX requests_pool_taken;
  CREATE INDEX requests_pool_taken ON requests (account, pool)
    WHERE pool <> '' AND (state = 'running' OR (state = 'queued' AND door <> 'queue'));
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
