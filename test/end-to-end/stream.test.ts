import { randomUUID } from "node:crypto"
import { readFile } from "node:fs/promises"
import { request as httpRequest, type IncomingMessage } from "node:http"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { ApiError } from "@fal-ai/client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readStarts, until } from "../crash/probe-calls.ts"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"

interface Pictures {
  images: { url: string; width: number; height: number; content_type: string }[]
  seed: number
}

interface Chunk {
  n: number
  text: string
  pid: number
  error?: object
}

const endpoint = "test/streams"

describe("the official JavaScript client, unmodified, streams", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess({ args: ["--apps", "./test/apps/streams.ts"] })
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  const newFile = () => join(server.data, randomUUID())

  it.each(["fal-ai/flux/dev", "fal-ai/flux/schnell", "fal-ai/fast-sdxl"])(
    "a preview a step, then the picture [%s]",
    async (model) => {
      const { fal } = officialClient(server.url)
      const input = { prompt: "a lighthouse", seed: 7, num_inference_steps: 4 }
      const stream = await fal.stream(model, { input })
      const events: Pictures[] = []
      for await (const event of stream) events.push(event as Pictures)
      expect(events).toHaveLength(5)
      for (const { images, seed } of events.slice(0, 4)) {
        expect(seed).toBe(7)
        expect(images).toMatchObject([{ content_type: "image/jpeg" }])
        expect(images[0]!.url).toMatch(/^data:image\/jpeg;base64,/)
        expect(images[0]!.url.length).toBeLessThan(10_000)
      }
      const result = (await stream.done()) as Pictures
      expect(result).toEqual(events[4])
      expect(result.images[0]!.url).toMatch(/^http.*\/files\//)
      expect(stream.requestId).toMatch(/^[0-9a-f-]{36}$/)
      const kept = await fal.queue.result(model, { requestId: stream.requestId ?? "" })
      expect(kept.data).toEqual(result)
    },
  )

  it("an event of 200 KB full of emoji arrives as it was", async () => {
    const { fal } = officialClient(server.url)
    const text = "🌅é漢".repeat(25_000)
    const stream = await fal.stream(endpoint, { input: { chunks: 3, text } })
    const events: Chunk[] = []
    for await (const event of stream) events.push(event as Chunk)
    expect(events.map(({ n }) => n)).toEqual([1, 2, 3, undefined])
    for (const event of events.slice(0, 3)) expect(event.text === text).toBe(true)
  })

  it("an error before the first event is an ApiError with its status", async () => {
    const { fal } = officialClient(server.url)
    const stream = await fal.stream(endpoint, { input: { chunks: "many" } })
    const error = await stream.done().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ApiError)
    expect(error).toMatchObject({ status: 422, body: { detail: [{ loc: ["body", "chunks"] }] } })
    const silent = await fal.stream(`${endpoint}/silent`, { input: {} })
    const refused = await silent.done().catch((thrown: unknown) => thrown)
    const detail = expect.stringContaining("does not stream") as string
    expect(refused).toMatchObject({ status: 404, body: { detail } })
  })

  it("an error after it is the last event", async () => {
    const { fal } = officialClient(server.url)
    const stream = await fal.stream(endpoint, { input: { chunks: 1, status: 503 } })
    expect(await stream.done()).toEqual({ error: { status: 503, detail: "told to" } })
  })

  it("a client that goes away stops the app", async () => {
    const { fal } = officialClient(server.url)
    const file = newFile()
    const stream = await fal.stream(endpoint, { input: { waits: true, file } })
    await new Promise<void>((resolve) => {
      stream.on("data", (event) => {
        if ((event as Chunk).n === 3) resolve()
      })
    })
    stream.abort()
    await until("the abort", async () => (await readStarts(file)).includes("aborted"))
    const id = stream.requestId ?? ""
    const url = `${server.url}/queue/${endpoint}/requests/${id}/status`
    const ended = await fetch(`${url}?logs=0`, { headers: { prefer: "wait=10" } })
    expect(await ended.json()).toMatchObject({ error_type: "client_disconnected" })
  })

  it("a client that does not read holds the app back, which loses nothing by it", async () => {
    const file = newFile()
    const chunks = 400
    const incoming = await post(`${server.url}/run/${endpoint}/stream`, {
      chunks,
      padding: 100_000,
      file,
    })
    incoming.pause()
    // It goes on until the sockets and its window are full, then it stands still.
    let emitted = -1
    await until("a stand", async () => {
      const before = emitted
      emitted = (await readStarts(file)).length
      if (emitted !== before) await sleep(300)
      return emitted === before && emitted > 0
    })
    expect(emitted).toBeLessThan(chunks / 2)
    let text = ""
    for await (const piece of incoming) text += String(piece)
    const events = text.split("\n\n").filter((block) => block.startsWith("data: "))
    const read = events.map((event) => JSON.parse(event.slice(6)) as Chunk)
    expect(read.map(({ n }) => n).slice(0, -1)).toEqual(
      Array.from({ length: chunks }, (_, index) => index + 1),
    )
    expect(read.at(-1)).toMatchObject({ done: true })
  })

  it("says in its documents and its list which endpoints stream, and where", async () => {
    const list = await fetch(`${server.url}/v1/models?endpoint_id=${endpoint},${endpoint}/silent`)
    const { models } = (await list.json()) as { models: { metadata: { stream_url?: string } }[] }
    const streamUrl = `${server.url}/${endpoint}/stream`
    expect(models.map(({ metadata }) => metadata.stream_url)).toEqual([streamUrl, undefined])
    const at = `${server.url}/api/openapi/queue/openapi.json?endpoint_id=${endpoint}`
    const { paths } = (await (await fetch(at)).json()) as {
      paths: Record<string, { servers?: object[] }>
    }
    expect(paths[`/${endpoint}/stream`]).toMatchObject({
      servers: [{ url: server.url }],
      post: { responses: { "200": { content: { "text/event-stream": {} } } } },
    })
  })

  it("a runner that is killed under a stream is told as its last event", async () => {
    const { fal } = officialClient(server.url)
    const file = newFile()
    const stream = await fal.stream(endpoint, { input: { waits: true, file } })
    stream.on("data", (event) => {
      const { n, pid } = event as Chunk
      if (n === 3) process.kill(pid, "SIGKILL")
    })
    expect(await stream.done()).toMatchObject({
      error: { status: 503, error_type: "runner_disconnected" },
    })
    expect(await readFile(file, "utf8")).not.toContain("aborted")
  })
})

async function post(url: string, body: object): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const headers = { "content-type": "application/json" }
  const outgoing = httpRequest(url, { agent: false, method: "POST", headers }, resolve)
  outgoing.on("error", reject)
  outgoing.end(JSON.stringify(body))
  return await promise
}
