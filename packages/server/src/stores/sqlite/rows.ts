import type { RequestState } from "@tintype/protocol"
import type { Door, Priority } from "../../domain/door.ts"
import type { Body, CancelCause, CancelRequest, RequestRecord } from "../../domain/request.ts"

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
  turn: number
  state: RequestState
  attempts: number
  attempts_counted: number
  lease: string | null
  session: string | null
  started_at: number | null
  stored_seq: number
  cancel_requested_at: number | null
  cancel_cause: CancelCause | null
  submitted_at: number
  finished_at: number | null
  outcome: string | null
  version: number
}

/** A row of `inputs` or `outputs`, without what only inputs have. */
export interface BodyRow {
  bytes: number
  blob: string | null
  inline: Uint8Array | null
}

/** The record of a row. What a row keeps of a concluded lease is no attempt any more. */
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
    turn: row.turn,
    state: row.state,
    attempts: row.attempts,
    attemptsCounted: row.attempts_counted,
    attempt,
    cancelRequest: toCancelRequest(row),
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
