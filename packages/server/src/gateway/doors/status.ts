import { isTerminal, toWireStatus } from "@tintype/protocol"
import type { RequestRecord } from "../../domain/request.ts"
import type { EventCursor, StoredEvent } from "../../store.ts"
import type { Address } from "../address.ts"
import type { Gateway } from "../parts.ts"

export interface WireLog {
  message: string
  /** ISO 8601. */
  timestamp: string
  level: string
  source: "USER"
  labels: Record<string, string>
}

/** What a status is made of, beside the record. */
export interface StatusFacts {
  /** Null when the caller did not ask for logs. */
  logs: WireLog[] | null
  position: number | null
  progress: { step: number; steps: number } | null
}

/** The status object of polls and of the stream's events. */
export function statusBody(
  record: RequestRecord,
  address: Pick<Address, "statusBase">,
  facts: StatusFacts,
): object {
  const status = toWireStatus(record.state)
  const shared = { status, request_id: record.id, ...requestUrls(record, address) }
  const { logs } = facts
  if (status === "IN_QUEUE") {
    return { ...shared, queue_position: facts.position ?? 0, logs, metrics: {} }
  }
  if (status === "IN_PROGRESS") {
    const progress = facts.progress === null ? {} : { progress: facts.progress }
    return { ...shared, logs, metrics: {}, ...progress }
  }
  const outcome = record.outcome
  const inferenceMs = outcome?.inferenceMs ?? null
  const metrics = { inference_time: inferenceMs === null ? null : inferenceMs / 1_000 }
  const { error, errorType } = outcome ?? { error: null, errorType: null }
  return {
    ...shared,
    logs,
    metrics,
    ...(error === null ? {} : { error }),
    ...(errorType === null ? {} : { error_type: errorType }),
  }
}

/** Of a request: always by its app, whatever endpoint of it was called. */
export function requestUrls(
  record: Pick<RequestRecord, "app" | "id">,
  address: Pick<Address, "statusBase">,
): { response_url: string; status_url: string; cancel_url: string } {
  const url = `${address.statusBase}/${record.app}/requests/${record.id}`
  return { response_url: url, status_url: `${url}/status`, cancel_url: `${url}/cancel` }
}

/** Position, progress and logs of a request at this moment; `after` leaves out the logs told before. */
export async function readStatus(
  gateway: Gateway,
  record: RequestRecord,
  options: { logs: boolean; after?: EventCursor },
): Promise<{ record: RequestRecord; facts: StatusFacts; cursor: EventCursor | undefined }> {
  const { snapshots, events } = gateway.parts
  let latest = record
  let position: number | null = null
  if (record.state === "queued") {
    position = await gateway.positions.read(record.id)
    // It left the queue while its position was asked.
    if (position === null) latest = (await snapshots.get(record.id)) ?? record
  }
  const told = options.logs ? await events.read(latest, options.after) : []
  const { step, steps } = events.progress(record.id) ?? {}
  const progress =
    isTerminal(latest.state) || step === undefined || steps === undefined ? null : { step, steps }
  const logs = options.logs ? told.flatMap(toWireLog) : null
  const last = told.at(-1)
  const cursor = last === undefined ? options.after : { attempt: last.attempt, seq: last.event.seq }
  return { record: latest, facts: { logs, position, progress }, cursor }
}

/** A log line as the clients read it; the gateway's own notes carry a label that says so. */
function toWireLog({ event, source, attempt }: StoredEvent): WireLog[] {
  if (event.kind !== "log") return []
  const note = source === "gateway" ? { source: "gateway", attempt: String(attempt) } : {}
  return [
    {
      message: event.message,
      timestamp: new Date(event.at).toISOString(),
      level: event.level,
      source: "USER",
      labels: { ...event.labels, ...note },
    },
  ]
}

/** `logs` comes as 1 and 0 from JavaScript, as true and false from Python. */
export function wantsLogs(query: URLSearchParams): boolean {
  return ["1", "true"].includes(query.get("logs")?.toLowerCase() ?? "")
}
