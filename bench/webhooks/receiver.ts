import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { verifyWebhook } from "@tintype/client"
import type { ReceiverOrder, ReceiverReport } from "./report.ts"

/**
 * `receiver.ts <count> <hanging>`: listens on so many ports, each an origin of its own, answers 200 at once on all but the
 * first few, which take a webhook and never answer. In a process of its own, so that it does not hold up the bench.
 */

const samplesMax = 200
const [, , count = "1", hanging = "0"] = process.argv

interface Sample {
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

const seen = new Set<string>()
const samples: Sample[] = []
let repeats = 0
let firstAt = 0
let lastAt = 0
let expected = 0

const servers = Array.from({ length: Number(count) }, (_, index) => {
  const answer = index < Number(hanging) ? hang : take
  return createServer(answer).listen(0, "127.0.0.1")
})
await Promise.all(servers.map((server) => once(server, "listening")))
const ports = servers.map((server) => (server.address() as AddressInfo).port)
report({ kind: "listening", urls: ports.map((port) => `http://127.0.0.1:${port}/hook`) })

process.on("message", (order: ReceiverOrder) => {
  if (order.kind === "expect") {
    expected = order.count
    tellWhenAll()
  } else void verify(order.jwksUrl)
})
process.on("disconnect", () => process.exit())

function hang(request: IncomingMessage): void {
  request.resume()
}

function take(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    response.end()
    const body = Buffer.concat(chunks)
    const id = String(request.headers["x-fal-webhook-request-id"])
    if (!body.includes(`"${id}"`)) throw new Error(`the body of ${id} is of another request`)
    lastAt = performance.now()
    if (seen.size === 0) firstAt = lastAt
    if (seen.has(id)) repeats += 1
    seen.add(id)
    if (samples.length < samplesMax) samples.push({ headers: request.headers, body })
    tellWhenAll()
  })
}

function tellWhenAll(): void {
  if (expected === 0 || seen.size < expected) return
  expected = 0
  const perSecond = (seen.size - 1) / ((lastAt - firstAt) / 1_000)
  report({ kind: "received", perSecond, repeats })
}

/** Afterwards, as it costs more than to receive. */
async function verify(jwksUrl: string): Promise<void> {
  for (const { headers, body } of samples) await verifyWebhook({ headers, body, jwksUrl })
  report({ kind: "verified", count: samples.length })
}

function report(message: ReceiverReport): void {
  process.send?.(message)
}
