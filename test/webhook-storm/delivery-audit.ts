import { type VerifiedWebhook, verifyWebhook } from "@tintype/client"
import { Connections } from "../crash/connections.ts"
import type { DeliveryRow } from "./delivery-rows.ts"
import { type Arrival, type Manner, type Reply, truncatedLength } from "./receivers.ts"
import type { StormKill } from "./storm.ts"

/** A try as the server tells of it. */
export interface ToldTry {
  number: number
  at: string
  duration_ms: number
  status: number | null
  error: string | null
  detail: string | null
  answer: string
}

export interface AuditedStorm {
  /** The server that is asked, and whose keys the webhooks must be signed with. */
  url: string
  rows: DeliveryRow[]
  arrivals: Arrival[]
  kills: StormKill[]
  firstTimeoutMs: number
  retriesMax: number
}

const answerBytesMax = 1_024
/** Between the clocks of two processes, and of what they round. */
const clockMs = 50

/** Sentences about all that is not as promised of each request's webhook, as its receiver and its server tell of it. */
export async function auditDeliveries(storm: AuditedStorm): Promise<string[]> {
  const byRequest = Map.groupBy(storm.arrivals, ({ requestId }) => requestId)
  const connections = new Connections(8)
  const queue = [...storm.rows]
  const broken: string[] = []
  const work = async () => {
    for (let row = queue.pop(); row !== undefined; row = queue.pop()) {
      const sentences = await auditOne(storm, row, byRequest.get(row.id) ?? [], connections)
      const { id, webhook } = row
      broken.push(...sentences.map((sentence) => `${id} ${webhook}: ${sentence}`))
    }
  }
  await Promise.all(Array.from({ length: 8 }, work))
  connections.close()
  const known = new Set(storm.rows.map(({ id }) => id))
  const strangers = [...byRequest.keys()].filter((id) => !known.has(id))
  return [...broken, ...strangers.map((id) => `${id}: a webhook of nobody's request`)]
}

export function mannerOf({ webhook }: DeliveryRow): Manner {
  return new URL(webhook).pathname.split("/")[1] as Manner
}

async function auditOne(
  storm: AuditedStorm,
  row: DeliveryRow,
  arrivals: Arrival[],
  connections: Connections,
): Promise<string[]> {
  const { url } = storm
  const result = await connections.call("GET", `${url}/queue/${row.endpoint}/requests/${row.id}`)
  const shown = await connections.call("GET", `${url}/_/webhooks/${row.id}`)
  if (shown.status !== 200) return [`its webhook answered ${shown.status}`]
  const told = JSON.parse(shown.body.toString()) as { state: string; tries: ToldTry[] }
  const expected = expectedBody(row, result.status, result.body)
  const content = arrivals.map((arrival) => auditArrival(storm, row, arrival, expected))
  return [
    ...(await Promise.all(content)).flat(),
    ...auditEnd(storm, row, told, arrivals),
    ...auditTries(storm, row, told.tries, arrivals),
  ]
}

/** Written down from the protocol, not with the server's own code: the result's bytes between texts that are always so. */
function expectedBody({ id, state }: DeliveryRow, status: number, result: Buffer): Buffer {
  const succeeded = state === "succeeded"
  const error = succeeded ? "null" : `"Invalid status code: ${status}"`
  return Buffer.concat([
    Buffer.from(`{"error": ${error}, "gateway_request_id": "${id}", "payload": `),
    result,
    Buffer.from(`, "request_id": "${id}", "status": "${succeeded ? "OK" : "ERROR"}"}`),
  ])
}

async function auditArrival(
  { url }: AuditedStorm,
  { id, finishedAt }: DeliveryRow,
  { at, headers, body }: Arrival,
  expected: Buffer,
): Promise<string[]> {
  const early = finishedAt === null || at < finishedAt
  const sentences = early ? [`came ${at}, the request ended ${finishedAt}`] : []
  if (body === null) return sentences
  if (!body.equals(expected)) {
    sentences.push(`its body differs from the outcome: ${body.toString().slice(0, 300)}`)
  }
  const jwksUrl = `${url}/.well-known/jwks.json`
  const verified = await verifyWebhook({ headers, body, jwksUrl, now: at }).catch(
    (error: unknown) => String(error),
  )
  return [...sentences, ...objectionsTo(verified, id)]
}

function objectionsTo(verified: VerifiedWebhook | string, id: string): string[] {
  if (typeof verified === "string") return [`it does not verify: ${verified}`]
  return verified.requestId === id ? [] : [`it is signed for ${verified.requestId}`]
}

/** How the delivery of each manner must have ended. */
function auditEnd(
  { retriesMax }: AuditedStorm,
  row: DeliveryRow,
  { state, tries }: { state: string; tries: ToldTry[] },
  arrivals: Arrival[],
): string[] {
  const manner = mannerOf(row)
  const states: Partial<Record<Manner, string>> = {
    broken: "exhausted",
    redirecting: "failed",
    forbidden: "failed",
  }
  const expected = states[manner] ?? "delivered"
  const sentences = state === expected ? [] : [`it is ${state}, not ${expected}`]
  const last = tries.at(-1)
  const ends: Record<string, boolean> = {
    delivered: last?.status === 200,
    exhausted: last?.status === 500 && tries.length === 1 + retriesMax,
    failed:
      tries.length === 1 &&
      (manner === "redirecting" ? last?.status === 302 : last?.error === "forbidden_address"),
  }
  if (ends[state] !== true) sentences.push(`its last of ${tries.length}: ${JSON.stringify(last)}`)
  const hasArrived = arrivals.some(({ body }) => body !== null)
  const mayArrive = manner !== "forbidden"
  if (hasArrived !== mayArrive) sentences.push(`${arrivals.length} have arrived`)
  return sentences
}

/**
 * A delivery has one try at a time, so that tries and arrivals are the same in the same order, but for what a kill cut short:
 * one try of each life at most, of which nobody wrote down anything.
 */
function auditTries(
  { kills, firstTimeoutMs }: AuditedStorm,
  row: DeliveryRow,
  tries: ToldTry[],
  arrivals: Arrival[],
): string[] {
  if (mannerOf(row) === "forbidden") return []
  const sentences: string[] = []
  const rest = [...arrivals]
  for (const made of tries) {
    const place = rest.findIndex((arrival) => fits(made, arrival))
    if (place === -1) {
      sentences.push(`no arrival is try ${made.number}: ${JSON.stringify(made)}`)
      continue
    }
    const [arrival] = rest.splice(0, place + 1).slice(-1)
    const objection = objectionToAnswer(made, arrival!, firstTimeoutMs)
    if (objection !== null) sentences.push(`try ${made.number} ${objection}`)
  }
  const hits = kills.filter(({ to }) => to >= (row.finishedAt ?? 0)).length
  const unwritten = arrivals.length - tries.length
  if (unwritten > hits) sentences.push(`${unwritten} tries are not written, of ${hits} kills`)
  return sentences
}

function fits({ at, status, error }: ToldTry, { at: arrivedAt, reply }: Arrival): boolean {
  if (arrivedAt < Date.parse(at) - clockMs) return false
  // On a machine that is short of time any answer may come too late.
  if (error === "timeout") return true
  const connection = status === null && error === "connection"
  if (reply === "late") return status === 200
  return repliesCut.has(reply) ? connection : status === reply
}

const repliesCut = new Set<Reply>(["reset", "cut"])

function objectionToAnswer(
  { status, error, duration_ms: durationMs, answer }: ToldTry,
  { manner, reply, text }: Arrival,
  firstTimeoutMs: number,
): string | null {
  if (error === "timeout" && durationMs < firstTimeoutMs) return `timed out at ${durationMs} ms`
  if (reply === "late" && durationMs < firstTimeoutMs) return `was late, and took ${durationMs} ms`
  if (durationMs < 0) return `took ${durationMs} ms`
  const sent = manner === "truncating" ? text.slice(0, truncatedLength) : text
  const expected = status === null ? "" : sent.slice(0, answerBytesMax)
  return answer === expected ? null : `has kept ${answer.length} characters: ${answer}`
}
