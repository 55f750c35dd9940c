import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createClient } from "./client.ts"
import { ApiError, TimeoutError, TransportError, ValidationError } from "./errors.ts"
import { answer, hang, lose, ScriptedServer, type Step } from "./scripted-server.suite.ts"
import { readBases, readSettings } from "./settings.ts"
import { send } from "./transport/send.ts"

let server: ScriptedServer
const retry = { delayMs: 1, delayMaxMs: 2_000 }
const id = "11111111-2222-4333-8444-555555555555"
const ok = answer(200, { value: 1 }, { "x-fal-request-id": id, "x-fal-billable-units": "2.5" })
const submitted = answer(200, { request_id: id, queue_position: 3, status: "IN_QUEUE" })

beforeAll(async () => {
  server = await ScriptedServer.open()
})

afterAll(async () => {
  await server.close()
})

const client = (options: object = {}) => createClient({ url: server.url, retry, ...options })
const input = { prompt: "a lighthouse" }

function keys(): (string | undefined)[] {
  return server.calls.map(({ headers }) => headers["idempotency-key"] as string | undefined)
}

describe("a call", () => {
  it("answers data, the request's id, what it cost and the headers", async () => {
    server.script(ok)
    const result = await client().run("fal-ai/flux/dev", { input })
    expect(result).toMatchObject({ data: { value: 1 }, requestId: id, billableUnits: 2.5 })
    expect(result.headers.get("x-fal-billable-units")).toBe("2.5")
    const [call] = server.calls
    expect([call?.method, call?.path]).toEqual(["POST", "/run/fal-ai/flux/dev"])
    expect(JSON.parse(call?.body ?? "")).toEqual(input)
  })

  it("says what it asks for in headers, and what is left out is not said", async () => {
    server.script(submitted, submitted)
    await client().queue.submit("a/b/c", { input })
    const plain = server.calls[0]?.headers ?? {}
    expect(Object.keys(plain).filter((name) => name.startsWith("x-"))).toEqual([])
    await client().queue.submit("a/b/c", {
      input,
      startTimeoutMs: 1_500,
      noRetry: true,
      storeIo: false,
      priority: "low",
      webhookUrl: "https://example.com/?a=1&b",
      queueLengthMax: 4,
      headers: { "x-own": "1" },
    })
    expect(server.calls[1]).toMatchObject({
      path: "/queue/a/b/c?fal_webhook=https%3A%2F%2Fexample.com%2F%3Fa%3D1%26b&fal_max_queue_length=4",
      headers: {
        "x-fal-request-start-timeout": "1.5",
        "x-fal-no-retry": "1",
        "x-fal-store-io": "0",
        "x-fal-queue-priority": "low",
        "x-own": "1",
      },
    })
  })

  it.each([
    ["id:secret", "Key id:secret"],
    ["Bearer abc", "Bearer abc"],
    [() => Promise.resolve("later:found"), "Key later:found"],
    [() => null, undefined],
    [undefined, undefined],
  ])("shows its credentials [%s]", async (credentials, authorization) => {
    server.script(ok)
    await client(credentials === undefined ? {} : { credentials }).run("a/b", { input })
    expect(server.calls[0]?.headers.authorization).toBe(authorization)
  })

  it("refuses an id that is none before it calls", async () => {
    server.script()
    await expect(client().run("nonsense", { input })).rejects.toThrow('"nonsense" is no endpoint')
    await expect(client().queue.status("a/../b", { requestId: id })).rejects.toThrow(
      "is no endpoint",
    )
    expect(server.calls).toEqual([])
  })
})

describe("trying again", () => {
  it("a lost answer: the same key, so that the server knows it", async () => {
    server.script(lose, lose, submitted)
    const made = await client().queue.submit("a/b", { input })
    expect(made).toEqual({ requestId: id, queuePosition: 3 })
    expect(new Set(keys())).toEqual(new Set([expect.stringMatching(/^[0-9a-f]{32}$/)]))
    expect(new Set(keys()).size).toBe(1)
    expect(new Set(server.calls.map(({ body }) => body)).size).toBe(1)
  })

  it("two calls have two keys", async () => {
    server.script(submitted, submitted)
    await client().queue.submit("a/b", { input })
    await client().queue.submit("a/b", { input })
    expect(new Set(keys()).size).toBe(2)
  })

  it("a run that was answered a failure which may not last: another key, for it is another request", async () => {
    const failed = answer(
      503,
      { detail: "lost" },
      { "x-fal-request-id": id, "x-fal-needs-retry": "1" },
    )
    server.script(failed, ok)
    await client().run("a/b", { input })
    expect(new Set(keys()).size).toBe(2)
  })

  it("an answer of a proxy between: the same key, for the server may be at work", async () => {
    server.script(answer(502, "bad gateway"), ok)
    await client().run("a/b", { input })
    expect(new Set(keys()).size).toBe(1)
  })

  it("with a key of the caller's own, not after the request has answered", async () => {
    const failed = answer(
      503,
      { detail: "lost" },
      { "x-fal-request-id": id, "x-fal-needs-retry": "1" },
    )
    server.script(lose, failed, ok)
    const call = client().run("a/b", { input, idempotencyKey: "order-1" })
    await expect(call).rejects.toMatchObject({ status: 503, requestId: id })
    expect(keys()).toEqual(["order-1", "order-1"])
  })

  it("without a key, only what was not taken", async () => {
    const busy = answer(429, { detail: "busy" }, { "retry-after": "0" })
    server.script(busy, lose, ok)
    const call = client().run("a/b", { input, idempotencyKey: null })
    await expect(call).rejects.toBeInstanceOf(TransportError)
    expect(keys()).toEqual([undefined, undefined])
    server.script(answer(503, { detail: "perhaps taken" }), ok)
    const away = client().run("a/b", { input, idempotencyKey: null })
    await expect(away).rejects.toMatchObject({ status: 503, retryable: true })
    expect(server.calls).toHaveLength(1)
  })

  it("the hosted service is told no key, and nothing is sent to it twice that it may have taken", async () => {
    const urls: string[] = []
    const failing: typeof fetch = (url, init) => {
      const target = url instanceof Request ? url.url : url.toString()
      urls.push(`${target} ${new Headers(init?.headers).get("idempotency-key")}`)
      return Promise.reject(new TypeError("fetch failed"))
    }
    const hosted = client({ url: "https://fal.run", fetch: failing })
    await expect(hosted.run("a/b", { input })).rejects.toBeInstanceOf(TransportError)
    await expect(hosted.queue.submit("a/b", { input })).rejects.toBeInstanceOf(TransportError)
    await expect(hosted.queue.status("a/b", { requestId: id })).rejects.toThrow("fetch failed")
    expect(urls.slice(0, 2)).toEqual(["https://fal.run/a/b null", "https://queue.fal.run/a/b null"])
    expect(urls).toHaveLength(2 + 4)
  })

  it("waits as long as it is told to, and gives up where that is too long", async () => {
    const startedAt = performance.now()
    server.script(answer(429, { detail: "busy" }, { "retry-after": "0.2" }), ok)
    await client().run("a/b", { input })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(199)
    server.script(answer(429, { detail: "busy" }, { "retry-after": "3600" }), ok)
    const call = client().run("a/b", { input })
    await expect(call).rejects.toMatchObject({ status: 429, retryAfterMs: 3_600_000 })
    expect(server.calls).toHaveLength(1)
  })

  it.each([
    ["400", answer(400, { detail: "no" })],
    ["500", answer(500, { detail: "internal", error_type: "internal_error" })],
    ["504 of the platform, which says so", answer(504, {}, { "x-fal-retryable": "false" })],
    ["504 of the caller's deadline", answer(504, {}, { "x-fal-request-timeout-type": "user" })],
  ])("not for what stays as it is [%s]", async (_, step) => {
    server.script(step, ok)
    await expect(client().run("a/b", { input })).rejects.toBeInstanceOf(ApiError)
    expect(server.calls).toHaveLength(1)
  })

  it("a server that says nothing, when nothing is what it may take long for", async () => {
    server.script(hang, ok)
    const settings = readSettings({ url: server.url, retry })
    const call = { method: "GET", url: `${server.url}/x`, when: "always", tryMs: 50 } as const
    const { signal } = new AbortController()
    const data = await send(settings, { ...call, signal, read: (response) => response.json() })
    expect(data).toEqual({ value: 1 })
    server.script(hang)
    const once = { ...settings, retry: { ...settings.retry, triesMax: 1 } }
    const silent = send(once, { ...call, signal, read: (response) => response.json() })
    await expect(silent).rejects.toThrow("no answer within 50 ms")
  })

  it("as often as it was told to", async () => {
    server.script(lose, lose, ok)
    const twice = client({ retry: { ...retry, triesMax: 2 } })
    await expect(twice.queue.status("a/b", { requestId: id })).rejects.toBeInstanceOf(
      TransportError,
    )
    server.script(lose, ok)
    const never = client({ retry: false })
    await expect(never.queue.status("a/b", { requestId: id })).rejects.toBeInstanceOf(
      TransportError,
    )
    expect(server.calls).toHaveLength(1)
  })

  it("a stored failure is fetched once, whatever its status says", async () => {
    const stored = answer(503, { detail: "overloaded" }, { "x-fal-request-id": id })
    server.script(stored, ok)
    const call = client().queue.result("a/b", { requestId: id })
    await expect(call).rejects.toMatchObject({ status: 503, requestId: id })
    expect(server.calls).toHaveLength(1)
  })
})

describe("errors", () => {
  it("of the platform have its type, and say whether it may help to call again", async () => {
    const body = { detail: "The runner was lost", error_type: "runner_disconnected" }
    server.script(answer(503, body, { "x-fal-request-id": id, "x-tintype-x": "1" }))
    const error = await client({ retry: false })
      .run("a/b", { input })
      .catch((e: unknown) => e)
    expect(error).toBeInstanceOf(ApiError)
    expect(error).toMatchObject({
      name: "ApiError",
      message: "The runner was lost",
      code: "runner_disconnected",
      errorType: "runner_disconnected",
      status: 503,
      requestId: id,
      body,
      retryable: true,
    })
  })

  it("of an input name every field", async () => {
    const detail = [
      { loc: ["body", "image_size", "width"], msg: "Input should be at most 14142", type: "le" },
      { loc: ["body"], msg: "Field required", type: "missing" },
    ]
    server.script(answer(422, { detail }))
    const error = await client()
      .run("a/b", { input })
      .catch((e: unknown) => e)
    if (!(error instanceof ValidationError)) throw error
    expect(error.message).toBe(
      "image_size.width: Input should be at most 14142; input: Field required",
    )
    expect(error.issuesOf("image_size.width")).toEqual([detail[0]])
    expect(error.issuesOf("prompt")).toEqual([])
  })

  it.each([
    [422, { detail: "just text" }, "just text"],
    [404, { error: { type: "not_found", message: "no such" } }, "no such"],
    [418, "short and stout", "The server answered 418"],
    [500, null, "The server answered 500"],
  ])("say what there is to say [%s %j]", async (status, body, message) => {
    server.script(answer(status, body))
    const error = await client()
      .run("a/b", { input })
      .catch((e: unknown) => e)
    expect(error).toBeInstanceOf(ApiError)
    expect(error).not.toBeInstanceOf(ValidationError)
    expect(error).toMatchObject({ message, code: `http_${status}` })
  })

  it("of a server that is away tell its address, never the token in it", async () => {
    const away = createClient({ url: "http://127.0.0.1:1", retry: false })
    const call = away.queue.streamStatus("a/b", { requestId: id, token: "secret" })
    const error = await read(call).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(TransportError)
    expect(String(error)).toContain("http://127.0.0.1:1")
    expect(String(error)).not.toContain("secret")
  })
})

describe("ends", () => {
  it("a timeout is one of the whole call, tries and waits included", async () => {
    server.script(answer(429, {}, { "retry-after": "0" }), hang)
    const call = client({ timeoutMs: 150 }).run("a/b", { input })
    await expect(call).rejects.toEqual(new TimeoutError(150))
    server.script(answer(429, {}, { "retry-after": "2" }))
    const waits = client().run("a/b", { input, timeoutMs: 50 })
    await expect(waits).rejects.toMatchObject({ code: "timeout", timeoutMs: 50 })
  })

  it("an abort rejects with its reason, before, while it waits and while it reads", async () => {
    const reason = new Error("enough")
    server.script()
    const before = client().run("a/b", { input, signal: AbortSignal.abort(reason) })
    await expect(before).rejects.toBe(reason)
    expect(server.calls).toEqual([])
    const ends = new AbortController()
    server.script((response) => {
      response.writeHead(200, { "content-type": "application/json" }).write('{"value"')
      ends.abort(reason)
    })
    await expect(client().run("a/b", { input, signal: ends.signal })).rejects.toBe(reason)
  })

  it("a body that breaks off is no result", async () => {
    server.script((response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "100" })
      response.write('{"value"')
      setImmediate(() => response.destroy())
    }, ok)
    const { data } = await client().queue.result("a/b", { requestId: id })
    expect(data).toEqual({ value: 1 })
  })
})

describe("streams", () => {
  it("are iterated, and done is their last event", async () => {
    server.script(events(': ping\n\ndata: {"a":1}\r\n\r\n', 'event: x\ndata: {"a":\ndata: 2}\n\n'))
    const stream = await client().stream("a/b", { input })
    expect(stream.requestId).toBe(id)
    expect(await read(stream)).toEqual([{ a: 1 }, { a: 2 }])
    expect(await stream.done()).toEqual({ a: 2 })
    expect(server.calls[0]).toMatchObject({ path: "/run/a/b/stream", method: "POST" })
  })

  it("done reads by itself, and an id that ends in /stream keeps it", async () => {
    server.script(events('data: {"a":1}\n\ndata: "é😀"\n\n'))
    const stream = await client().stream("a/b/stream", { input })
    expect(await stream.done()).toBe("é😀")
    expect(server.calls[0]?.path).toBe("/run/a/b/stream")
  })

  it("that break off say so", async () => {
    server.script((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write('data: {"a":1}\n\n')
      setImmediate(() => response.destroy())
    })
    const stream = await client().stream("a/b", { input })
    await expect(read(stream)).rejects.toBeInstanceOf(TransportError)
    await expect(stream.done()).rejects.toBeInstanceOf(TransportError)
  })

  it("whose loop is left end at the server", async () => {
    const gone = Promise.withResolvers<void>()
    server.script((response) => {
      response.once("close", gone.resolve)
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n")
    })
    const stream = await client().stream("a/b", { input })
    for await (const event of stream) {
      expect(event).toBe(1)
      break
    }
    await gone.promise
    await expect(stream.done()).rejects.toThrow("left before its end")
  })

  it("an abort ends one that is read, with its reason", async () => {
    const ends = new AbortController()
    server.script((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n")
    })
    const stream = await client().stream("a/b", { input, signal: ends.signal })
    const reason = new Error("enough")
    const reading = (async () => {
      for await (const event of stream) if (event === 1) ends.abort(reason)
    })()
    await expect(reading).rejects.toBe(reason)
  })

  it("show a token in place of the key", async () => {
    server.script(events("data: 1\n\n"))
    const asked: string[] = []
    const token = (endpoint: string) => (asked.push(endpoint), "tok")
    await (await client({ credentials: "a:b" }).stream("a/b", { input, token })).done()
    expect(asked).toEqual(["a/b/stream"])
    expect(server.calls[0]?.path).toBe("/run/a/b/stream?fal_jwt_token=tok")
    expect(server.calls[0]?.headers.authorization).toBeUndefined()
  })
})

describe("where a client calls", () => {
  it.each([
    ["http://127.0.0.1:3250", "http://127.0.0.1:3250/queue", true],
    ["https://example.com/tintype/", "https://example.com/tintype/queue", true],
    ["https://fal.run", "https://queue.fal.run", false],
    ["https://queue.fal.run", "https://queue.fal.run", false],
  ])("%s → %s", (url, queue, knowsKeys) => {
    expect(readBases(url)).toMatchObject({ queue, knowsKeys })
  })

  it.each(["ftp://example.com", "https://other.fal.run", "nonsense"])("never %s", (url) => {
    expect(() => readBases(url)).toThrow(TypeError)
  })
})

function events(...texts: string[]): Step {
  return (response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "x-fal-request-id": id })
    response.end(texts.join(""))
  }
}

async function read(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const event of stream) all.push(event)
  return all
}
