import { createHash, randomBytes } from "node:crypto"
import {
  ApiError,
  createClient,
  type RealtimeConnection,
  type TintypeError,
  type UploadProgress,
} from "@tintype/client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"
import { TcpProxy } from "../tcp-proxy.ts"

const key = "root:5ecret5ecret"
const endpoint = "test/doors"
const mebibyte = 1024 * 1024

let server: ServerProcess

beforeAll(async () => {
  server = await startServerProcess({
    args: ["--apps", "./test/client/doors-app.ts"],
    env: { TINTYPE_KEY: key },
  })
  await untilReady(server.url)
})

afterAll(async () => {
  await server.kill("SIGTERM")
  await removeDataFolder(server.data)
})

const client = (options: object = {}) =>
  createClient({ url: server.url, credentials: key, ...options })
/** What a page has. */
const page = () => createClient({ url: server.url })

async function read(events: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const event of events) all.push(event)
  return all
}

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
const fetched = async (url: string) => new Uint8Array(await (await fetch(url)).arrayBuffer())

interface Heard {
  connection: RealtimeConnection<object>
  results: unknown[]
  errors: TintypeError[]
  /** Resolves when so many results have come. */
  until: (count: number) => Promise<void>
  failed: Promise<TintypeError>
}

function connect(options: object = {}, from = client()): Heard {
  const results: unknown[] = []
  const errors: TintypeError[] = []
  const failed = Promise.withResolvers<TintypeError>()
  const waiting: { count: number; resolve: () => void }[] = []
  const connection = from.realtime.connect(endpoint, {
    onResult: (result) => {
      results.push(result)
      for (const { count, resolve } of waiting) if (results.length >= count) resolve()
    },
    onError: (error) => {
      errors.push(error)
      failed.resolve(error)
    },
    ...options,
  })
  const until = (count: number) =>
    new Promise<void>((resolve) => {
      waiting.push({ count, resolve })
      if (results.length >= count) resolve()
    })
  return { connection, results, errors, until, failed: failed.promise }
}

describe("stream", () => {
  it("tells what the endpoint emits, its result last", async () => {
    const input = { text: "é😀", events: 3 }
    const stream = await client().stream(endpoint, { input })
    expect(stream.requestId).toMatch(/^[0-9a-f-]{36}$/)
    const told = ["é😀 1", "é😀 2", "é😀 3", "é😀"].map((text) => ({ text, image_url: null }))
    expect(await read(stream)).toEqual(told)
    expect(await stream.done()).toEqual(told.at(-1))
  })

  it("a failure after the first event is thrown as the answer would have been", async () => {
    const stream = await client().stream(endpoint, {
      input: { events: 1, pause_ms: 50, fail: true },
    })
    const error = await read(stream).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ApiError)
    expect(error).toMatchObject({ status: 418, requestId: stream.requestId })
    await expect(stream.done()).rejects.toBe(error)
  })

  it("an input that is refused is refused before there is a stream", async () => {
    const call = client().stream(endpoint, { input: { events: "many" } })
    await expect(call).rejects.toMatchObject({ status: 422, name: "ValidationError" })
  })

  it("with a token of its app a page streams; with none, or another's, it does not", async () => {
    const token = await client().tokens.create(endpoint, { seconds: 60 })
    const stream = await page().stream(endpoint, { input: { text: "hi" }, token })
    expect(await stream.done()).toMatchObject({ text: "hi" })
    const foreign = () => client().tokens.create("fal-ai/flux/dev")
    const refused = page().stream(endpoint, { input: {}, token: foreign })
    await expect(refused).rejects.toMatchObject({ status: 403 })
    await expect(page().stream(endpoint, { input: {} })).rejects.toMatchObject({ status: 401 })
    const run = page().run(endpoint, { input: {} })
    await expect(run).rejects.toMatchObject({ status: 401 })
  })

  it("with a token a page follows a request that its server has submitted", async () => {
    const token = await client().tokens.create(endpoint)
    const { requestId } = await client().queue.submit(endpoint, { input: { pause_ms: 100 } })
    const told = await read(page().queue.streamStatus(endpoint, { requestId, token }))
    expect(told.at(-1)).toMatchObject({ status: "COMPLETED", error: null })
  })
})

it("a result says what it cost", async () => {
  const { billableUnits } = await client().run(endpoint, { input: { units: 2.5 } })
  expect(billableUnits).toBe(2.5)
})

describe("storage", () => {
  it("a small file is one PUT, and is served under its type", async () => {
    const bytes = randomBytes(1_000)
    const progress: UploadProgress[] = []
    const url = await client().storage.upload(new Blob([bytes], { type: "image/png" }), {
      fileName: "dusk.png",
      onProgress: (now) => progress.push(now),
    })
    const answer = await fetch(url)
    expect(answer.headers.get("content-type")).toBe("image/png")
    expect(hash(new Uint8Array(await answer.arrayBuffer()))).toBe(hash(bytes))
    expect(url).toMatch(/dusk\.png$/)
    expect(progress).toEqual([
      { sentBytes: 0, totalBytes: 1_000 },
      { sentBytes: 1_000, totalBytes: 1_000 },
    ])
  })

  it("an empty file is a file", async () => {
    const url = await client().storage.upload(new Blob([]))
    expect(await fetched(url)).toHaveLength(0)
  })

  it("a large one goes in parts, several at a time, and tells how far it is", async () => {
    const bytes = randomBytes(35 * mebibyte)
    const sent: number[] = []
    const url = await client().storage.upload(new Blob([bytes], { type: "video/mp4" }), {
      onProgress: ({ sentBytes }) => sent.push(sentBytes),
    })
    expect(hash(await fetched(url))).toBe(hash(bytes))
    expect(sent).toHaveLength(1 + 4)
    expect(sent.at(-1)).toBe(bytes.length)
    expect(sent.toSorted((one, other) => one - other)).toEqual(sent)
  })

  it("answers that are lost cost a part, never the file", async () => {
    const proxy = await TcpProxy.open(server.url)
    const through = client({ url: proxy.url, retry: { delayMs: 10, triesMax: 6 } })
    const small = randomBytes(500)
    proxy.swallow(1)
    const one = await through.storage.upload(new Blob([small]))
    expect(hash(await fetched(one))).toBe(hash(small))
    const large = randomBytes(25 * mebibyte)
    let told = 0
    const other = await through.storage.upload(new Blob([large]), {
      onProgress: () => {
        told += 1
        if (told === 1) proxy.swallow(1)
        if (told === 2) proxy.swallow(2)
      },
    })
    expect(hash(await fetched(other))).toBe(hash(large))
    expect(proxy.swallowed).toBe(2)
    await proxy.close()
  })

  it("files in an input are uploaded first, the same one once", async () => {
    const image = new File([randomBytes(100)], "in.png", { type: "image/png" })
    const { data } = await client().run(endpoint, { input: { text: "x", image_url: image } })
    const { image_url: url } = data as { image_url: string }
    expect(await fetched(url)).toHaveLength(100)
    const given = { a: [image, { b: image }], at: new Date(0), data: "data:,x" }
    const copy = (await client().storage.transformInput(given)) as Record<string, unknown>
    const [first, second] = copy["a"] as [string, { b: string }]
    expect([first, copy["data"], copy["at"]]).toEqual([second.b, "data:,x", given.at])
    expect(given.a[0]).toBe(image)
  })

  it("says for how long, and for whom", async () => {
    const lifecycle = { expiresInSeconds: 60, acl: { default: "hide" as const } }
    const url = await client().storage.upload(new Blob(["secret"]), { lifecycle })
    expect((await fetch(url)).status).toBe(404)
    const own = await fetch(url, { headers: { authorization: `Key ${key}` } })
    expect(await own.text()).toBe("secret")
  })

  it("an abort ends an upload", async () => {
    const ends = new AbortController()
    const call = client().storage.upload(new Blob([new Uint8Array(25 * mebibyte)]), {
      signal: ends.signal,
      onProgress: () => ends.abort(new Error("enough")),
    })
    await expect(call).rejects.toThrow("enough")
  })
})

describe("realtime", () => {
  it.each(["msgpack", "json"] as const)(
    "one answer for each input, in order [%s]",
    async (encoding) => {
      const { connection, results, errors, until } = connect({ encoding })
      for (const text of ["one", "two", "three"]) connection.send({ text })
      await until(3)
      expect(results).toMatchObject([{ text: "one" }, { text: "two" }, { text: "three" }])
      connection.send({ text: "four" })
      await until(4)
      connection.close()
      expect(errors).toEqual([])
      expect(() => connection.send({ text: "five" })).toThrow("The connection is closed")
    },
  )

  it("of what waits for the connection the oldest is dropped", async () => {
    const { connection, results, until } = connect({ waitingMax: 2 })
    for (const text of ["one", "two", "three"]) connection.send({ text })
    await until(2)
    expect(results).toMatchObject([{ text: "two" }, { text: "three" }])
    connection.close()
  })

  it("a page shows the token that its server has made", async () => {
    const asked: string[] = []
    const token = (called: string) => {
      asked.push(called)
      return client().tokens.create(called)
    }
    const { connection, until } = connect({ token }, page())
    connection.send({ text: "hi" })
    await until(1)
    connection.close()
    expect(asked).toEqual(["test/doors/realtime"])
  })

  it("without one it is told once that it may not", async () => {
    const { connection, errors, failed } = connect({}, page())
    expect(await failed).toMatchObject({ name: "RealtimeError", code: "Unauthorized" })
    connection.close()
    expect(errors).toHaveLength(1)
  })

  it("a failure of the app ends the connection, and the next input makes another", async () => {
    const { connection, errors, failed, until } = connect()
    connection.send({ fail: true })
    await failed
    connection.send({ text: "again" })
    await until(1)
    connection.close()
    expect(errors).toHaveLength(1)
  })

  it("a server that is away is an error", async () => {
    const away = createClient({ url: "http://127.0.0.1:1" })
    const { connection, failed } = connect({}, away)
    expect(await failed).toMatchObject({ code: "closed", closeCode: 1006 })
    connection.close()
  })

  it("an abort closes it", async () => {
    const ends = new AbortController()
    const { connection, until } = connect({ signal: ends.signal })
    connection.send({ text: "one" })
    await until(1)
    ends.abort()
    expect(() => connection.send({ text: "two" })).toThrow("closed")
  })
})
