import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { AttemptEvent } from "@tintype/protocol"
import type { Delivery, DeliveryTry } from "../../domain/delivery.ts"
import type { FileLifecycle } from "../../domain/files/object-lifecycle.ts"
import type { AttemptRecord, Body, RequestRecord } from "../../domain/request.ts"
import type {
  AccountStorage,
  AppRow,
  DeliveryPage,
  DueDelivery,
  DueOrder,
  EventCursor,
  FileRow,
  FoundRequests,
  KeyRow,
  RequestPage,
  SessionRow,
  StoredEvent,
  UploadRow,
} from "../../store.ts"
import type { SyncReads } from "./messages.ts"
import {
  type BodyRow,
  type DeliveryRow,
  type HistoryRow,
  type RequestRow,
  toAttempt,
  toBody,
  toDelivery,
  toFile,
  toKey,
  toRecord,
  toTry,
  toUpload,
  type TryRow,
} from "./rows.ts"
import { type CountedNodes, TurnCountReader } from "./turn-counts.ts"

type EventRow = [attempt: number, source: StoredEvent["source"], event: string]

/** Answers the port's reads on any connection: a read-only one beside the engine, or the engine's own. */
export class Reader implements SyncReads {
  readonly #db: DatabaseSync
  readonly #counts: TurnCountReader
  readonly #events: StatementSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#counts = new TurnCountReader(db)
    this.#events = db.prepare(`
      SELECT attempt, source, event FROM events
      WHERE sequence = ? AND (attempt, seq) > (?, ?) ORDER BY attempt, seq, source`)
    // The dearest part of a poll with logs: as arrays, its rows cost three quarters of what they cost as objects.
    this.#events.setReturnArrays(true)
  }

  app(id: string): AppRow | null {
    const row = this.#get("SELECT * FROM apps WHERE id = ?", id)
    return row === undefined ? null : toApp(row)
  }

  apps(): AppRow[] {
    return this.#all("SELECT * FROM apps ORDER BY id").map(toApp)
  }

  request(id: string): RequestRecord | null {
    return this.#record("SELECT * FROM requests WHERE id = ?", id)
  }

  body(sequence: number, kind: "input" | "output"): Body | null {
    const table = kind === "input" ? "inputs" : "outputs"
    const row = this.#get(`SELECT bytes, blob, inline FROM ${table} WHERE sequence = ?`, sequence)
    return row === undefined ? null : toBody(row as unknown as BodyRow)
  }

  events(sequence: number, after: EventCursor = { attempt: 0, seq: 0 }): StoredEvent[] {
    const rows = this.#events.all(sequence, after.attempt, after.seq) as unknown as EventRow[]
    return rows.map(([attempt, source, event]) => ({
      attempt,
      source,
      event: JSON.parse(event) as AttemptEvent,
    }))
  }

  positions(ids: string[]): (number | null)[] {
    // One snapshot for all: a commit between two sums would make a position that never was.
    this.#db.exec("BEGIN")
    try {
      const known: CountedNodes = new Map()
      return ids.map((id) => this.#position(id, known))
    } finally {
      this.#db.exec("COMMIT")
    }
  }

  queueLength(app: string): number {
    return this.#counts.queueLength(app)
  }

  nextDueAt(): number | null {
    const row = this.#get(
      `SELECT min(at) AS at FROM (SELECT min(not_before) AS at FROM requests WHERE held = 1
       UNION ALL SELECT min(start_deadline) FROM requests
       WHERE state = 'queued' AND start_deadline IS NOT NULL)`,
    )
    return typeof row?.["at"] === "number" ? row["at"] : null
  }

  appsWithWork(): string[] {
    return this.#counts.appsWithWork()
  }

  sessions(): SessionRow[] {
    return this.#all("SELECT * FROM sessions ORDER BY session").map((row) => ({
      session: String(row["session"]),
      key: typeof row["key_id"] === "string" ? row["key_id"] : null,
      runner: JSON.parse(String(row["runner"])) as SessionRow["runner"],
      apps: JSON.parse(String(row["apps"])) as string[],
      renewedAt: Number(row["renewed_at"]),
    }))
  }

  leaseHolder(lease: string): RequestRecord | null {
    return this.#record("SELECT * FROM requests WHERE lease = ? AND state = 'running'", lease)
  }

  file(name: string): FileRow | null {
    const row = this.#get("SELECT * FROM files WHERE name = ?", name)
    if (row === undefined) return null
    return toFile(row, this.#all("SELECT * FROM file_blobs WHERE file = ? ORDER BY number", name))
  }

  upload(file: string): UploadRow | null {
    const row = this.#get("SELECT * FROM uploads WHERE file = ?", file)
    return row === undefined ? null : toUpload(row)
  }

  storage(account: string): AccountStorage {
    const row = this.#get("SELECT bytes, settings FROM storage WHERE account = ?", account)
    const settings: FileLifecycle =
      typeof row?.["settings"] === "string"
        ? (JSON.parse(row["settings"]) as FileLifecycle)
        : { expirationMs: null, acl: null }
    return { bytes: Number(row?.["bytes"] ?? 0), settings }
  }

  dueDeliveries({ now, limit, perOrigin, except }: DueOrder): DueDelivery[] {
    // Origin by origin, so that one with a hundred thousand that wait costs no more than one with a few.
    const rows = this.#all(
      `WITH RECURSIVE origins (origin) AS (
         SELECT min(origin) FROM deliveries WHERE state = 'pending'
         UNION ALL
         SELECT (SELECT min(origin) FROM deliveries
           WHERE state = 'pending' AND origin > origins.origin)
         FROM origins WHERE origins.origin IS NOT NULL)
       SELECT deliveries.*, coalesce(outputs.bytes, 0) AS payload_bytes
       FROM origins JOIN deliveries ON deliveries.sequence IN (
         SELECT sequence FROM deliveries AS due
         WHERE due.state = 'pending' AND due.origin = origins.origin AND due.next_at <= ?
         ORDER BY due.next_at, due.sequence LIMIT ?)
       LEFT JOIN outputs ON outputs.sequence = deliveries.sequence
       WHERE origins.origin NOT IN (SELECT value FROM json_each(?))
       ORDER BY deliveries.next_at, deliveries.sequence LIMIT ?`,
      now,
      perOrigin,
      JSON.stringify(except),
      limit,
    )
    return rows.map((row) => ({
      delivery: toDelivery(row as unknown as DeliveryRow),
      payloadBytes: Number(row["payload_bytes"]),
    }))
  }

  delivery(request: string): { delivery: Delivery; tries: DeliveryTry[] } | null {
    const row = this.#get(
      `SELECT deliveries.* FROM requests JOIN deliveries USING (sequence) WHERE requests.id = ?`,
      request,
    )
    if (row === undefined) return null
    const delivery = toDelivery(row as unknown as DeliveryRow)
    const tries = this.#all(
      "SELECT * FROM delivery_tries WHERE sequence = ? ORDER BY number",
      delivery.sequence,
    )
    return { delivery, tries: tries.map((one) => toTry(one as unknown as TryRow)) }
  }

  deliveries({ account, state, before, limit }: DeliveryPage): Delivery[] {
    const rows = this.#all(
      `SELECT * FROM deliveries WHERE account = ? AND sequence < ? AND (? = '' OR state = ?)
       ORDER BY sequence DESC LIMIT ?`,
      account,
      before ?? Number.MAX_SAFE_INTEGER,
      state ?? "",
      state ?? "",
      limit,
    )
    return rows.map((row) => toDelivery(row as unknown as DeliveryRow))
  }

  requests(page: RequestPage): FoundRequests {
    const { account, limit, before = Number.MAX_SAFE_INTEGER } = page
    const { floor, rows, filters } = requestList(page)
    const last = floor === null ? null : this.#get(floor, account, before)?.["sequence"]
    const end = typeof last === "number" ? last : null
    const found = this.#all(rows, account, before, end ?? 0, ...filters, limit + 1)
    const requests = found.slice(0, limit).map((row) => toRecord(row as unknown as RequestRow))
    const isCut = found.length > limit
    return { requests, next: isCut ? (requests.at(-1)?.sequence ?? null) : end }
  }

  attempts(sequence: number): AttemptRecord[] {
    const rows = this.#all(attemptList, sequence, sequence)
    return rows.map((row) => toAttempt(row as unknown as HistoryRow))
  }

  key(id: string): KeyRow | null {
    const row = this.#get("SELECT * FROM keys WHERE id = ?", id)
    return row === undefined ? null : toKey(row)
  }

  keys(): KeyRow[] {
    return this.#all("SELECT * FROM keys ORDER BY created_at, id").map(toKey)
  }

  anyKey(): boolean {
    return this.#get("SELECT 1 FROM keys WHERE revoked_at IS NULL LIMIT 1") !== undefined
  }

  unreferencedBlobs(names: string[]): string[] {
    return names.filter(
      (name) =>
        this.#get(
          `SELECT 1 FROM inputs WHERE blob = ? UNION ALL SELECT 1 FROM outputs WHERE blob = ?
           UNION ALL SELECT 1 FROM file_blobs WHERE blob = ?
           UNION ALL SELECT 1 FROM upload_parts WHERE blob = ? LIMIT 1`,
          name,
          name,
          name,
          name,
        ) === undefined,
    )
  }

  #position(id: string, known: CountedNodes): number | null {
    const row = this.#get("SELECT app, turn, sequence, state FROM requests WHERE id = ?", id)
    if (row === undefined || row["state"] !== "queued") return null
    const place = {
      app: String(row["app"]),
      turn: Number(row["turn"]),
      sequence: Number(row["sequence"]),
    }
    return this.#counts.before(place, known)
  }

  #record(sql: string, value: string): RequestRecord | null {
    const row = this.#get(sql, value)
    return row === undefined ? null : toRecord(row as unknown as RequestRow)
  }

  #get(sql: string, ...values: (string | number)[]): Record<string, unknown> | undefined {
    return this.#statement(sql).get(...values)
  }

  #all(sql: string, ...values: (string | number)[]): Record<string, unknown>[] {
    return this.#statement(sql).all(...values)
  }

  /** Prepared once; the texts are the constants of this file. */
  #statement(sql: string): StatementSync {
    const known = this.#prepared.get(sql)
    if (known !== undefined) return known
    const statement = this.#db.prepare(sql)
    this.#prepared.set(sql, statement)
    return statement
  }
}

/** Rows that one page of a list looks at: so many take about 5 ms. */
const examinedMax = 5_000

/**
 * The statements of a page of requests. They walk an index of the account in order of arrival. What its key does not tell
 * is looked for in the rows, down to the sequence that `floor` finds.
 */
export function requestList({ state, endpoint, app }: Omit<RequestPage, "limit">): {
  floor: string | null
  rows: string
  /** The values of the last places but the limit's. */
  filters: string[]
} {
  const isBad = state === "failed" || state === "cancelled"
  const index = isBad ? "requests_ended_badly" : "requests_account"
  // In the text, not a value: else the partial index is not used.
  const ofState = isBad ? `state = '${state}' AND ` : ""
  const from = `FROM requests INDEXED BY ${index} WHERE ${ofState}account = ? AND sequence < ?`
  const filters = Object.entries({ state: isBad ? undefined : state, endpoint, app }).filter(
    (filter): filter is [string, string] => filter[1] !== undefined,
  )
  const conditions = filters.map(([column]) => ` AND ${column} = ?`).join("")
  return {
    floor:
      filters.length === 0
        ? null
        : `SELECT sequence ${from} ORDER BY sequence DESC LIMIT 1 OFFSET ${examinedMax - 1}`,
    rows: `SELECT * ${from} AND sequence >= ?${conditions} ORDER BY sequence DESC LIMIT ?`,
    filters: filters.map(([, value]) => value),
  }
}

/** Of one request: those that went back to the queue, and the one that its row tells of. */
export const attemptList = `
  SELECT made.*, coalesce(sessions.runner, dead_sessions.runner) AS runner,
    coalesce(sessions.opened_at, dead_sessions.opened_at) AS opened_at
  FROM (
    SELECT number, session, started_at, ended_at, reason, status, error_type
    FROM attempts WHERE sequence = ?
    UNION ALL
    SELECT attempts, session, started_at, finished_at, NULL, NULL, NULL
    FROM requests WHERE sequence = ? AND started_at IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM attempts WHERE sequence = requests.sequence AND number = requests.attempts)
  ) AS made
  LEFT JOIN sessions USING (session) LEFT JOIN dead_sessions USING (session)
  ORDER BY number`

function toApp(row: Record<string, unknown>): AppRow {
  const content = JSON.parse(String(row["content"])) as Omit<AppRow, "id" | "revision">
  return { id: String(row["id"]), ...content, revision: Number(row["revision"]) }
}
