import { randomUUID } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import {
  ApiError,
  createClient,
  type QueueStatus,
  TimeoutError,
  ValidationError,
} from "@tintype/client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readRequestRows } from "../crash/request-rows.ts"
import {
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"
import { TcpProxy } from "../tcp-proxy.ts"

let server: ServerProcess
let proxy: TcpProxy
const input = { prompt: "a lighthouse at dusk", seed: 7, num_inference_steps: 4 }
const small = { ...input, image_size: { width: 256, height: 192 } }

beforeAll(async () => {
  server = await startServerProcess({ args: ["--apps", "./test/apps/probe.ts"] })
  await untilReady(server.url)
  proxy = await TcpProxy.open(server.url)
})

afterAll(async () => {
  await proxy.close()
  await server.kill("SIGTERM")
  await removeDataFolder(server.data)
})

const client = (options: object = {}) => createClient({ url: server.url, ...options })

/** A file that the probe writes into. */
const marks = () => join(server.data, `marks-${randomUUID()}`)

async function untilMarked(path: string): Promise<void> {
  for (;;) {
    const text = await readFile(path, "utf8").catch(() => "")
    if (text !== "") return
    await new Promise((next) => setTimeout(next, 10))
  }
}

async function untilOver(requestId: string): Promise<QueueStatus> {
  return await client().queue.subscribeToStatus("test/probe", { requestId, pollMs: 10 })
}

const countStarts = async (path: string) => (await readFile(path, "utf8")).trim().split("\n").length
const through = () => createClient({ url: proxy.url, retry: { delayMs: 10 } })

describe("run and subscribe", () => {
  it("run answers what the endpoint does", async () => {
    const { data, requestId } = await client().run("fal-ai/flux/dev", { input: small })
    expect(data).toMatchObject({ seed: 7, images: [{ width: 256, height: 192 }] })
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/)
  })

  it.each(["polling", "streaming"] as const)(
    "subscribe [%s]: id, updates, logs, result",
    async (mode) => {
      const updates: QueueStatus[] = []
      const ids: string[] = []
      const { data, requestId } = await client().subscribe("test/probe", {
        input: { lines: 10, duration_ms: 400 },
        mode,
        pollMs: 20,
        logs: true,
        onEnqueue: (id) => ids.push(id),
        onQueueUpdate: (update) => updates.push(update),
      })
      expect(data).toEqual({ attempt: 1, lines: 10 })
      expect(ids).toEqual([requestId])
      expect(updates.map(({ status }) => status)).toContain("IN_PROGRESS")
      const last = updates.at(-1)
      expect(last).toMatchObject({ status: "COMPLETED", requestId, error: null, errorType: null })
      const lines = Array.from({ length: 10 }, (_, index) => `line ${index + 1}`)
      expect(last?.logs.map(({ message }) => message)).toEqual(lines)
    },
  )

  it("subscribe without listeners lets the server hold its answer", async () => {
    const calls: string[] = []
    const counting: typeof fetch = async (url, init) => {
      calls.push(init?.method ?? "GET")
      return await fetch(url, init)
    }
    const counted = client({ fetch: counting })
    await counted.subscribe("test/probe", { input: { duration_ms: 300 } })
    expect(calls).toEqual(["POST", "GET", "GET"])
  })

  it.each(["polling", "streaming"] as const)(
    "a failure is thrown as what it is [%s]",
    async (mode) => {
      const failing = client().subscribe("test/probe", { input: { fail: "throw" }, mode })
      const error = await failing.catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(ApiError)
      expect(error).toMatchObject({
        status: 500,
        requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      })
      const invalid = client().subscribe("fal-ai/flux/dev", { input: { prompt: 7 }, mode })
      const issues = await invalid.catch((thrown: unknown) => thrown)
      if (!(issues instanceof ValidationError)) throw issues
      expect(issues.issuesOf("prompt")).toMatchObject([{ type: "string_type" }])
    },
  )

  it("an unknown endpoint is 404, with the nearest", async () => {
    const error = await client()
      .run("fal-ai/flux2", { input })
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ status: 404, message: 'Application "fal-ai/flux2" not found' })
  })
})

describe("the queue, call by call", () => {
  it("submit, status, status stream, result", async () => {
    const { queue } = client()
    const { requestId } = await queue.submit("test/probe", {
      input: { lines: 3, duration_ms: 300 },
    })
    const first = await queue.status("test/probe", { requestId })
    expect(["IN_QUEUE", "IN_PROGRESS"]).toContain(first.status)
    expect(first.logs).toEqual([])
    await expect(queue.result("test/probe", { requestId })).rejects.toMatchObject({
      status: 400,
      message: "Request is still in progress",
    })
    const told: QueueStatus[] = []
    for await (const status of queue.streamStatus("test/probe", { requestId, logs: true })) {
      told.push(status)
    }
    expect(told.at(-1)?.status).toBe("COMPLETED")
    const lines = told.flatMap(({ logs }) => logs.map(({ message }) => message))
    expect(lines).toEqual(["line 1", "line 2", "line 3"])
    const { data } = await queue.result<"test/probe">("test/probe", { requestId })
    expect(data).toEqual({ attempt: 1, lines: 3 })
  })

  it("cancel tells what it came to", async () => {
    const { queue } = client()
    const starts = marks()
    const running = { starts_file: starts, duration_ms: 60_000 }
    const { requestId } = await queue.submit("test/probe", { input: running })
    await untilMarked(starts)
    expect(await queue.cancel("test/probe", { requestId })).toBe("requested")
    expect(await untilOver(requestId)).toMatchObject({ errorType: "client_cancelled" })
    expect(await queue.cancel("test/probe", { requestId })).toBe("cancelled")
    const done = await queue.submit("test/probe", { input: {} })
    await untilOver(done.requestId)
    expect(await queue.cancel("test/probe", done)).toBe("completed")
    const unknown = queue.cancel("test/probe", { requestId: randomUUID() })
    await expect(unknown).rejects.toMatchObject({ status: 404 })
  })

  it("a request that nobody can start in time fails as a start timeout", async () => {
    const full = await Promise.all(
      Array.from({ length: 8 }, () =>
        client().queue.submit("test/probe", { input: { duration_ms: 700 } }),
      ),
    )
    const late = client().subscribe("test/probe", { input: {}, startTimeoutMs: 100 })
    const error = await late.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ status: 504, isStartTimeout: true, retryable: false })
    await Promise.all(full.map(({ requestId }) => untilOver(requestId)))
  })
})

describe("ends", () => {
  it.each(["polling", "streaming"] as const)(
    "an abort of subscribe cancels the request [%s]",
    async (mode) => {
      const starts = marks()
      const ends = new AbortController()
      const ids: string[] = []
      const call = client().subscribe("test/probe", {
        input: { starts_file: starts, duration_ms: 60_000 },
        mode,
        signal: ends.signal,
        onEnqueue: (id) => ids.push(id),
      })
      call.catch(() => {})
      await untilMarked(starts)
      const reason = new Error("enough")
      ends.abort(reason)
      await expect(call).rejects.toBe(reason)
      expect(await untilOver(ids[0] ?? "")).toMatchObject({ errorType: "client_cancelled" })
    },
  )

  it("an abort while the submit is under way cancels what it has made", async () => {
    const before = new Set(readRequestRows(server.data).map(({ id }) => id))
    const ends = new AbortController()
    const answered = Promise.withResolvers<void>()
    const held: typeof fetch = async (url, init) => {
      const response = await fetch(url, init)
      if (init?.method === "POST") ends.abort(new Error("enough"))
      if (init?.method === "PUT") answered.resolve()
      return response
    }
    const call = client({ fetch: held }).subscribe("test/probe", {
      input: { duration_ms: 60_000 },
      signal: ends.signal,
    })
    await expect(call).rejects.toThrow("enough")
    await answered.promise
    const [made] = readRequestRows(server.data).filter(({ id }) => !before.has(id))
    expect(await untilOver(made?.id ?? "")).toMatchObject({ errorType: "client_cancelled" })
  })

  it("a timeout names the request, and leaves it alone when it is told to", async () => {
    const call = client().subscribe("test/probe", {
      input: { duration_ms: 500 },
      timeoutMs: 100,
      cancelOnAbort: false,
    })
    const error = await call.catch((thrown: unknown) => thrown)
    if (!(error instanceof TimeoutError)) throw error
    expect(await untilOver(error.requestId ?? "")).toMatchObject({ error: null })
  })

  it("an abort of a run without a key cancels it at once", async () => {
    const [starts, finishes] = [marks(), marks()]
    const ends = new AbortController()
    const call = client().run("test/probe", {
      input: { starts_file: starts, ends_file: finishes, duration_ms: 60_000 },
      idempotencyKey: null,
      signal: ends.signal,
    })
    call.catch(() => {})
    await untilMarked(starts)
    ends.abort()
    await expect(call).rejects.toMatchObject({ name: "AbortError" })
    const [requestId = ""] = (await readFile(starts, "utf8")).split(" ")
    expect(await untilOver(requestId)).toMatchObject({ errorType: "client_disconnected" })
  })
})

describe("a lost answer does not double the work", () => {
  it("of a submit", async () => {
    const path = marks()
    const before = readRequestRows(server.data).length
    proxy.swallow(2)
    const { requestId } = await through().queue.submit("test/probe", {
      input: { starts_file: path },
    })
    expect(proxy.swallowed).toBe(2)
    expect(readRequestRows(server.data).length - before).toBe(1)
    await untilOver(requestId)
    expect(await countStarts(path)).toBe(1)
  })

  it("of a run", async () => {
    const path = marks()
    proxy.swallow(1)
    const { data } = await through().run("test/probe", {
      input: { starts_file: path, duration_ms: 200 },
    })
    expect(data).toEqual({ attempt: 1, lines: 0 })
    expect([proxy.swallowed, await countStarts(path)]).toEqual([1, 1])
  })

  it("of the calls that follow", async () => {
    const path = marks()
    const ids: string[] = []
    const call = through().subscribe("test/probe", {
      input: { starts_file: path, duration_ms: 300 },
      onEnqueue: (id) => {
        ids.push(id)
        proxy.swallow(2)
      },
    })
    expect((await call).requestId).toBe(ids[0])
    expect([proxy.swallowed, await countStarts(path)]).toEqual([2, 1])
  })

  it("of a status stream, which is opened again and tells every line once", async () => {
    const updates: QueueStatus[] = []
    await through().subscribe("test/probe", {
      input: { lines: 5, duration_ms: 500 },
      mode: "streaming",
      logs: true,
      onEnqueue: () => proxy.swallow(1),
      onQueueUpdate: (update) => updates.push(update),
    })
    expect(proxy.swallowed).toBe(1)
    expect(updates.at(-1)?.logs).toHaveLength(5)
  })

  it("equal keys of two clients are one request", async () => {
    const idempotencyKey = randomUUID()
    const submit = () => client().queue.submit("test/probe", { input: {}, idempotencyKey })
    const [one, other] = await Promise.all([submit(), submit()])
    expect(one.requestId).toBe(other.requestId)
    const reused = client().queue.submit("test/probe", { input: { lines: 1 }, idempotencyKey })
    await expect(reused).rejects.toMatchObject({ code: "idempotency_key_reused", status: 422 })
  })
})
