import { isRecord, textOr } from "../queue/wire-reading.ts"

/** What `/_/requests` says of a request, as far as people are told of it. Times are epoch milliseconds. */
export interface RequestSummary {
  id: string
  endpoint: string
  door: string
  priority: string
  state: string
  position: number | null
  submittedAt: number
  notBefore: number | null
  startDeadline: number | null
  finishedAt: number | null
  attemptsMade: number
  cancelRequest: { at: number | null; cause: string } | null
  outcome: Outcome | null
}

export interface RequestHistory extends RequestSummary {
  inputBytes: number | null
  outputBytes: number | null
  attempts: Attempt[]
  webhook: Webhook | null
}

export interface Outcome {
  status: number | null
  error: string
  errorType: string
}

export interface Attempt {
  number: number
  runner: { pid: number | null; build: string; startedAt: number | null } | null
  session: string
  startedAt: number
  endedAt: number | null
  /** `requeued`, or what the request has become; empty while it runs. */
  outcome: string
  reason: string
  status: number | null
  errorType: string
}

export interface Webhook {
  url: string
  /** Empty until the request has ended. */
  state: string
  createdAt: number | null
  finishedAt: number | null
  nextTryAt: number | null
  tries: {
    number: number
    at: number
    durationMs: number
    status: number | null
    error: string
    detail: string
  }[]
}

export function readSummary(row: Record<string, unknown>): RequestSummary {
  const { cancel_request: cancel, outcome } = row
  return {
    id: text(row["request_id"]),
    endpoint: text(row["endpoint"]),
    door: text(row["door"]),
    priority: text(row["priority"]),
    state: text(row["state"]),
    position: count(row["queue_position"]),
    submittedAt: time(row["submitted_at"]) ?? 0,
    notBefore: time(row["not_before"]),
    startDeadline: time(row["start_deadline"]),
    finishedAt: time(row["finished_at"]),
    attemptsMade: count(row["attempts_made"]) ?? 0,
    cancelRequest: isRecord(cancel)
      ? { at: time(cancel["at"]), cause: text(cancel["cause"]) }
      : null,
    outcome: isRecord(outcome)
      ? {
          status: count(outcome["status"]),
          error: text(outcome["error"]),
          errorType: text(outcome["error_type"]),
        }
      : null,
  }
}

export function readHistory(row: Record<string, unknown>): RequestHistory {
  return {
    ...readSummary(row),
    inputBytes: count(row["input_bytes"]),
    outputBytes: count(row["output_bytes"]),
    attempts: records(row["attempts"]).map(readAttempt),
    webhook: isRecord(row["webhook"]) ? readWebhook(row["webhook"]) : null,
  }
}

function readAttempt(row: Record<string, unknown>): Attempt {
  const { runner } = row
  return {
    number: count(row["number"]) ?? 0,
    runner: isRecord(runner)
      ? {
          pid: count(runner["pid"]),
          build: text(runner["build"]),
          startedAt: time(runner["started_at"]),
        }
      : null,
    session: text(row["session"]),
    startedAt: time(row["started_at"]) ?? 0,
    endedAt: time(row["ended_at"]),
    outcome: text(row["outcome"]),
    reason: text(row["reason"]),
    status: count(row["status"]),
    errorType: text(row["error_type"]),
  }
}

function readWebhook(row: Record<string, unknown>): Webhook {
  return {
    url: text(row["url"]),
    state: text(row["state"]),
    createdAt: time(row["created_at"]),
    finishedAt: time(row["finished_at"]),
    nextTryAt: time(row["next_try_at"]),
    tries: records(row["tries"]).map((made) => ({
      number: count(made["number"]) ?? 0,
      at: time(made["at"]) ?? 0,
      durationMs: count(made["duration_ms"]) ?? 0,
      status: count(made["status"]),
      error: text(made["error"]),
      detail: text(made["detail"]),
    })),
  }
}

function records(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function text(value: unknown): string {
  return textOr(value, "")
}

function count(value: unknown): number | null {
  return typeof value === "number" ? value : null
}

function time(value: unknown): number | null {
  const at = Date.parse(text(value))
  return Number.isNaN(at) ? null : at
}
