import { type Agent, Agent as HttpAgent, request } from "node:http"
import { percentile } from "../statistics.ts"
import type { LoadOrders } from "./orders.ts"

/** Calls that answer in pieces: events of a stream, messages of a WebSocket. */

export const runStreams: LoadOrders["streams"] = async ({ port, path, count }) => {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: 1 })
  const first: number[] = []
  const last: number[] = []
  for (let call = 0; call < count; call += 1) {
    const told = await readStream({ port, path, agent, call })
    first.push(told.firstMs)
    last.push(told.lastMs)
  }
  agent.destroy()
  return { firstP50Ms: percentile(first, 0.5), lastP50Ms: percentile(last, 0.5) }
}

async function readStream(to: {
  port: number
  path: string
  agent: Agent
  call: number
}): Promise<{ firstMs: number; lastMs: number }> {
  const { port, path, agent, call } = to
  const done = Promise.withResolvers<{ firstMs: number; lastMs: number }>()
  const startedAt = performance.now()
  const options = { port, host: "127.0.0.1", path, agent, method: "POST" }
  const headers = { "content-type": "application/json" }
  const asked = request({ ...options, headers }, (answer) => {
    let text = ""
    let firstMs: number | null = null
    answer.setEncoding("utf8").on("data", (part: string) => {
      firstMs ??= performance.now() - startedAt
      text += part
    })
    answer.on("end", () => {
      const events = text.split("\n\n").filter((event) => event.startsWith("data: "))
      const right = events.length === 2 && events[1] === `data: {"call":${call}}`
      if (right && firstMs !== null) {
        done.resolve({ firstMs, lastMs: performance.now() - startedAt })
      } else done.reject(new Error(`a stream got ${answer.statusCode}: ${text}`))
    })
  })
  asked.on("error", done.reject)
  asked.end(JSON.stringify({ call }))
  return await done.promise
}

export const runTurns: LoadOrders["turns"] = async ({ port, path, count }) => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
  await heard(socket, "open")
  const durations: number[] = []
  for (let turn = 0; turn < count; turn += 1) {
    const answer = heard(socket, "message")
    const startedAt = performance.now()
    socket.send(JSON.stringify({ turn }))
    const { data } = (await answer) as MessageEvent
    durations.push(performance.now() - startedAt)
    if (data !== `{"turn":${turn}}`) throw new Error(`turn ${turn} got ${String(data)}`)
  }
  socket.close()
  return { p50Ms: percentile(durations, 0.5), p99Ms: percentile(durations, 0.99) }
}

/** The next event of this kind; rejects when the socket fails or closes before. */
async function heard(socket: WebSocket, name: "open" | "message"): Promise<Event> {
  const done = Promise.withResolvers<Event>()
  const fail = () => done.reject(new Error(`the socket ended before its ${name}`))
  socket.addEventListener(name, done.resolve, { once: true })
  socket.addEventListener("close", fail, { once: true })
  try {
    return await done.promise
  } finally {
    socket.removeEventListener("close", fail)
  }
}
