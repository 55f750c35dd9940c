import type { RequestState } from "@tintype/protocol"
import type { Door, Priority } from "../../domain/door.ts"
import type { Delivery, DeliveryError, DeliveryState, DeliveryTry } from "../../domain/delivery.ts"
import type {
  AttemptRecord,
  AttemptRunner,
  Body,
  CancelCause,
  CancelRequest,
  RequestRecord,
  RequeueReason,
} from "../../domain/request.ts"
import type { Leftovers } from "../../domain/retention.ts"
import type { FileRow, KeyLimits, KeyRow, KeyScope, SessionRow, UploadRow } from "../../store.ts"

/** A row of `requests`, column for column. */
export interface RequestRow {
  sequence: number
  id: string
  account: string
  door: Door
  app: string
  endpoint: string
  path: string
  priority: Priority
  webhook: string | null
  turn: number
  state: RequestState
  attempts: number
  attempts_counted: number
  lease: string | null
  /** Of the current attempt, or the last one. */
  session: string | null
  started_at: number | null
  stored_seq: number
  cancel_requested_at: number | null
  cancel_cause: CancelCause | null
  no_retry: number
  not_before: number | null
  start_deadline: number | null
  store_io: number
  /** An `ObjectLifecycle`. */
  lifecycle: string | null
  submitted_at: number
  finished_at: number | null
  outcome: string | null
  version: number
  /** What shares a limit with it; see `operations/pools.ts`. */
  pool: string
}

/** A row of `inputs` or `outputs`, without what only inputs have. */
export interface BodyRow {
  bytes: number
  blob: string | null
  inline: Uint8Array | null
}

/** The record of a row. What a row keeps of an attempt that ended is history. */
export function toRecord(row: RequestRow): RequestRecord {
  const attempt =
    row.state === "running" && row.lease !== null && row.session !== null && row.started_at !== null
      ? {
          number: row.attempts,
          lease: row.lease,
          session: row.session,
          startedAt: row.started_at,
        }
      : null
  return {
    id: row.id,
    sequence: row.sequence,
    account: row.account,
    door: row.door,
    app: row.app,
    endpoint: row.endpoint,
    path: row.path,
    priority: row.priority,
    webhook: row.webhook,
    turn: row.turn,
    state: row.state,
    attempts: row.attempts,
    attemptsCounted: row.attempts_counted,
    attempt,
    cancelRequest: toCancelRequest(row),
    noRetry: row.no_retry === 1,
    notBefore: row.not_before,
    startDeadline: row.start_deadline,
    storeIo: row.store_io === 1,
    lifecycle:
      row.lifecycle === null ? null : (JSON.parse(row.lifecycle) as RequestRecord["lifecycle"]),
    submittedAt: row.submitted_at,
    finishedAt: row.finished_at,
    outcome: row.outcome === null ? null : (JSON.parse(row.outcome) as RequestRecord["outcome"]),
    version: row.version,
  }
}

function toCancelRequest(row: RequestRow): CancelRequest | null {
  const { cancel_requested_at: at, cancel_cause: cause } = row
  return at === null || cause === null ? null : { at, cause }
}

/** SQLite takes an empty array for NULL, so an inline body of no bytes is a row with neither. */
export function toBody(row: BodyRow): Body {
  if (row.blob !== null) return { blob: row.blob, bytes: row.bytes }
  return { inline: row.inline ?? new Uint8Array(0) }
}

export function fromBody(body: Body): BodyRow {
  return "blob" in body
    ? { bytes: body.bytes, blob: body.blob, inline: null }
    : { bytes: body.inline.byteLength, blob: null, inline: body.inline }
}

/** What the column `kept` says of an ended request, bit by bit: requests of one value go at the same age. */
const keptBits = { input: 1, result: 2, unstored: 4, large: 8 }

export function fromLeftovers({ storeIo, input, result, large }: Leftovers): number {
  return (
    (input ? keptBits.input : 0) +
    (result ? keptBits.result : 0) +
    (storeIo ? 0 : keptBits.unstored) +
    (large ? keptBits.large : 0)
  )
}

export function toLeftovers(kept: number): Leftovers {
  return {
    storeIo: (kept & keptBits.unstored) === 0,
    input: (kept & keptBits.input) !== 0,
    result: (kept & keptBits.result) !== 0,
    large: (kept & keptBits.large) !== 0,
  }
}

/** A row of `deliveries`. */
export interface DeliveryRow {
  sequence: number
  request: string
  account: string
  url: string
  origin: string
  state: DeliveryState
  tries: number
  tries_in_round: number
  next_at: number | null
  created_at: number
  finished_at: number | null
}

/** A row of `delivery_tries`, without its key. */
export interface TryRow {
  at: number
  duration_ms: number
  status: number | null
  answer: string
  error: DeliveryError | null
  detail: string | null
}

export function toDelivery(row: DeliveryRow): Delivery {
  return {
    sequence: row.sequence,
    request: row.request,
    account: row.account,
    url: row.url,
    origin: row.origin,
    state: row.state,
    tries: row.tries,
    triesInRound: row.tries_in_round,
    nextAt: row.next_at,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
  }
}

export function toTry(row: TryRow): DeliveryTry {
  const { at, duration_ms: durationMs, status, answer, error, detail } = row
  return { at, durationMs, status, answer, error, detail }
}

/** A row of `attemptList`. */
export interface HistoryRow {
  number: number
  session: string
  started_at: number
  ended_at: number | null
  reason: RequeueReason | null
  status: number | null
  error_type: string | null
  runner: string | null
  opened_at: number | null
}

export function toAttempt(row: HistoryRow): AttemptRecord {
  const { number, session, reason, status, error_type: errorType } = row
  return {
    number,
    session,
    runner: row.runner === null ? null : toRunner(row.runner, row.opened_at),
    startedAt: row.started_at,
    endedAt: row.ended_at,
    requeued: reason === null ? null : { reason, status, errorType },
  }
}

function toRunner(text: string, openedAt: number | null): AttemptRunner {
  const { pid, build } = JSON.parse(text) as SessionRow["runner"]
  return { pid, build, openedAt }
}

export function toKey(row: Record<string, unknown>): KeyRow {
  return {
    id: String(row["id"]),
    secretHash: String(row["secret_hash"]),
    scope: row["scope"] as KeyScope,
    name: String(row["name"]),
    account: String(row["account"]),
    apps: JSON.parse(String(row["apps"])) as string[],
    limits: JSON.parse(String(row["limits"])) as KeyLimits,
    createdAt: Number(row["created_at"]),
    revokedAt: row["revoked_at"] === null ? null : Number(row["revoked_at"]),
    lastUsedAt: row["last_used_at"] === null ? null : Number(row["last_used_at"]),
    version: Number(row["version"]),
  }
}

export function toFile(row: Record<string, unknown>, blobs: Record<string, unknown>[]): FileRow {
  return {
    name: String(row["name"]),
    account: String(row["account"]),
    blobs: blobs.map(({ blob, bytes }) => ({ name: String(blob), bytes: Number(bytes) })),
    bytes: Number(row["bytes"]),
    contentType: String(row["content_type"]),
    request: typeof row["request"] === "string" ? row["request"] : null,
    createdAt: Number(row["created_at"]),
    expiresAt: row["expires_at"] === null ? null : Number(row["expires_at"]),
    acl: typeof row["acl"] === "string" ? (JSON.parse(row["acl"]) as FileRow["acl"]) : null,
  }
}

export function toUpload(row: Record<string, unknown>): UploadRow {
  return {
    file: String(row["file"]),
    account: String(row["account"]),
    contentType: String(row["content_type"]),
    multipart: Boolean(row["multipart"]),
    bytesMax: Number(row["bytes_max"]),
    lifecycle: JSON.parse(String(row["lifecycle"])) as UploadRow["lifecycle"],
    createdAt: Number(row["created_at"]),
    expiresAt: Number(row["expires_at"]),
  }
}
