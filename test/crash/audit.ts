import { setTimeout as sleep } from "node:timers/promises"
import { Connections } from "./connections.ts"
import type { Acknowledged } from "./load.ts"

export interface AuditOptions {
  /** For all of them together, until the last one is terminal. */
  deadlineMs: number
  connections?: number
}

/**
 * Asks a server for every acknowledged request until it is terminal, then for its result, twice over HTTP; returns a sentence
 * for each broken promise. An echo answers with its input, byte for byte; whatever else succeeded answers 200.
 */
export async function audit(
  url: string,
  acknowledged: Acknowledged[],
  { deadlineMs, connections: count = 16 }: AuditOptions,
): Promise<string[]> {
  const connections = new Connections(count)
  const broken: string[] = []
  const end = performance.now() + deadlineMs
  const queue = [...acknowledged]
  const work = async () => {
    for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
      const sentence = await auditOne(connections, url, one, end)
      if (sentence !== null) broken.push(`${one.endpoint} ${one.id}: ${sentence}`)
    }
  }
  await Promise.all(Array.from({ length: count }, work))
  connections.close()
  return broken
}

async function auditOne(
  connections: Connections,
  url: string,
  { id, endpoint, body }: Acknowledged,
  end: number,
): Promise<string | null> {
  const base = `${url}/queue/${endpoint}/requests/${id}`
  const first = await untilTerminal(connections, base, end)
  if (typeof first === "string") return first
  const result = await connections.call("GET", base)
  const second = await connections.call("GET", `${base}/status`)
  if (second.status !== 200) return `it was COMPLETED, then its status answered ${second.status}`
  const before = JSON.stringify(first)
  const after = JSON.stringify(JSON.parse(second.body.toString()))
  if (before !== after) return `its terminal status changed from ${before} to ${after}`
  if (first.error !== undefined) return `it ended with ${first.error}`
  if (result.status !== 200) {
    return `its result answered ${result.status}: ${result.body.toString().slice(0, 200)}`
  }
  if (result.headers["x-fal-request-id"] !== id) return "its result names another request"
  if (endpoint === "tintype/echo" && !result.body.equals(body)) {
    return `its result differs from its input: ${result.body.toString().slice(0, 200)}`
  }
  return null
}

async function untilTerminal(
  connections: Connections,
  base: string,
  end: number,
): Promise<{ status: string; error?: string } | string> {
  for (;;) {
    const reply = await connections.call("GET", `${base}/status`)
    const text = reply.body.toString()
    if (reply.status !== 200 && reply.status !== 202) return `its status answered ${reply.status}`
    const told = JSON.parse(text) as { status: string; error?: string }
    if (reply.status === 200) {
      return told.status === "COMPLETED" ? told : `200 with the status ${told.status}`
    }
    if (performance.now() > end) return `still ${told.status} at the deadline`
    await sleep(50)
  }
}
