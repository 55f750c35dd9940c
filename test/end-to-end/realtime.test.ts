import { rm } from "node:fs/promises"
import { join } from "node:path"
import { ApiError } from "@fal-ai/client"
import { packMessage, unpackMessage } from "@tintype/protocol"
import sharp from "sharp"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { WebSocket as RawWebSocket } from "ws"
import { makeRandomModel } from "../../packages/catalogue/src/random-model.suite.ts"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const app = join(import.meta.dirname, "../apps/live.ts")

let server: ServerProcess
let model: string

async function start(): Promise<void> {
  model = await makeRandomModel()
  const engines = { "tintype/miniature": { engine: "diffusion", model } }
  const env = { TINTYPE_ENGINES: JSON.stringify(engines) }
  server = await startServerProcess({ args: ["--apps", app], env })
  await untilReady(server.url)
}

async function stop(): Promise<void> {
  await server.kill("SIGTERM")
  await removeDataFolder(server.data)
  await rm(model, { recursive: true, force: true })
}

async function token(path: string): Promise<string> {
  const answer = await fetch(`${server.url}/rest/tokens/`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ allowed_apps: [path.split("/")[1]], token_expiration: 60 }),
  })
  expect(answer.status).toBe(200)
  return (await answer.json()) as string
}

describe("realtime with the official client", () => {
  const original = globalThis.WebSocket
  let open: { close(): void }[] = []
  /** Of the newest WebSocket. */
  let closed: Promise<void>

  beforeAll(async () => {
    await start()
    // The one thing that is changed of what the client does: the host that it dials.
    globalThis.WebSocket = class extends original {
      constructor(url: string | URL) {
        super(String(url).replace("wss://fal.run", server.url.replace("http", "ws")))
        closed = new Promise((resolve) => this.addEventListener("close", () => resolve()))
      }
    }
  })

  afterEach(() => {
    for (const one of open) one.close()
    open = []
  })

  afterAll(async () => {
    globalThis.WebSocket = original
    await stop()
  })

  type Result = Record<string, unknown>
  type Options = Partial<
    Parameters<ReturnType<typeof officialClient>["fal"]["realtime"]["connect"]>[1]
  >

  /** A connection whose results and errors are read one by one. */
  function connect(endpoint: string, options: Options = {}) {
    const results = queue<Result>()
    const errors = queue<Error>()
    const { fal } = officialClient(server.url)
    const connection = fal.realtime.connect<Result>(endpoint, {
      throttleInterval: 0,
      tokenProvider: token,
      onResult: results.push,
      onError: errors.push,
      ...(options as object),
    })
    open.push(connection)
    const send = (input: Record<string, unknown>) => connection.send(input)
    return { send, results, errors }
  }

  it.each([
    ["fal-ai/fast-lightning-sdxl", {}],
    ["fal-ai/fast-lcm-diffusion", { num_inference_steps: 2 }],
    ["tintype/miniature", {}],
  ])("gets pictures as bytes [%s]", async (endpoint, more) => {
    const { send, results } = connect(endpoint)
    for (const request_id of ["1", "2"]) {
      send({ prompt: "a lake", image_size: "square", seed: 5, request_id, ...more })
      const result = await results.next()
      expect(result).toMatchObject({ request_id, seed: 5, prompt: "a lake" })
      const [image] = result["images"] as { content: Uint8Array; content_type: string }[]
      expect(image).toMatchObject({ content_type: "image/jpeg", width: 512, height: 512 })
      const { format, width } = await sharp(image!.content).metadata()
      expect({ format, width }).toEqual({ format: "jpeg", width: 512 })
    }
  })

  it("draws over what is drawn [lcm-sd15-i2i, a data URI]", async () => {
    const canvas = sharp({ create: { width: 512, height: 512, channels: 3, background: "#fff" } })
    const image_url = `data:image/png;base64,${(await canvas.png().toBuffer()).toString("base64")}`
    const { send, results } = connect("fal-ai/lcm-sd15-i2i")
    send({ prompt: "a lake", image_url, strength: 0.8, sync_mode: true })
    const result = await results.next()
    expect(result).toMatchObject({ num_inference_steps: 4, images: [{ width: 512 }] })
  })

  it("hears of an invalid input, and goes on", async () => {
    const { send, results, errors } = connect("test/live")
    send({ n: "no" })
    const error = await errors.next()
    expect(error).toBeInstanceOf(ApiError)
    expect(error).toMatchObject({
      status: 400,
      message: expect.stringMatching(/^VALIDATION_ERROR: n: Input should be a valid integer/),
    })
    send({ n: 2 })
    expect(await results.next()).toMatchObject({ n: 2 })
  })

  it("hears of an app that fails, and connects again", async () => {
    const { send, results, errors } = connect("test/live")
    send({ fail: true })
    expect(await errors.next()).toMatchObject({ message: "INTERNAL_ERROR: told to fail" })
    expect(await errors.next()).toMatchObject({ status: 1011 })
    send({ n: 3 })
    expect(await results.next()).toMatchObject({ n: 3 })
  })

  it("does not mind a session that times out, and connects again", async () => {
    const { send, results, errors } = connect("test/live/brief")
    send({ n: 1 })
    await results.next()
    await closed
    send({ n: 2 })
    expect(await results.next()).toMatchObject({ n: 2 })
    expect(errors.size).toBe(0)
  })

  it("authorizes anew when its token is refused", async () => {
    const tokens = ["not.a.token", await token("test/live/realtime")]
    const tokenProvider = async () => tokens.shift() ?? ""
    const { send, results, errors } = connect("test/live", { tokenProvider })
    send({ n: 1 })
    expect(await errors.next()).toMatchObject({ status: 1008 })
    send({ n: 2 })
    expect(await results.next()).toMatchObject({ n: 2 })
  })

  it("is not let in with a token of another app", async () => {
    const { send, errors } = connect("test/live", {
      tokenProvider: async () => await token("fal-ai/flux/realtime"),
    })
    send({ n: 1 })
    const error = await errors.next()
    expect(error).toMatchObject({ status: 1008, message: expect.stringContaining("not for") })
  })

  it("may write JSON, and reads JSON", async () => {
    const { send, results } = connect("test/live", {
      encodeMessage: (input: unknown) => JSON.stringify(input),
    })
    send({ n: 7, content: "aGk=" })
    expect(await results.next()).toMatchObject({ n: 7, content: "aGk=" })
  })
})

describe("realtime without a client's help", () => {
  beforeEach(start)
  afterEach(stop)

  it("ends when its runner is killed, and is there again with the next one", async () => {
    const first = await dial()
    const { pid } = await first.ask({ n: 1 })
    first.send({ n: 2, hold_ms: 60_000 })
    process.kill(Number(pid), "SIGKILL")
    expect(await first.closed).toMatchObject({ code: 1011 })
    // The upgrade waits for the runner that is being started.
    const second = await dial()
    expect((await second.ask({ n: 3 }))["pid"]).not.toBe(pid)
    second.socket.close()
  })

  it("is closed with 1001 when the server stops, after the answer under way", async () => {
    const busy = await dial()
    const idle = await dial()
    await busy.ask({ n: 1 })
    busy.send({ n: 2, hold_ms: 300 })
    // A pong follows what was sent before its ping.
    const pong = new Promise((resolve) => busy.socket.once("pong", resolve))
    busy.socket.ping()
    await pong
    const exited = server.kill("SIGTERM")
    expect(await idle.closed).toMatchObject({ code: 1001 })
    expect(await busy.results.next()).toMatchObject({ n: 2 })
    expect(await busy.closed).toMatchObject({ code: 1001 })
    expect(await exited).toBe(0)
  })
})

/** Values in the order in which they came. */
function queue<Value>() {
  const values: Value[] = []
  const waiting: ((value: Value) => void)[] = []
  return {
    get size() {
      return values.length
    },
    push: (value: Value): void => {
      const next = waiting.shift()
      if (next === undefined) values.push(value)
      else next(value)
    },
    next: async (): Promise<Value> =>
      values.shift() ?? (await new Promise<Value>((resolve) => waiting.push(resolve))),
  }
}

async function dial() {
  const socket = new RawWebSocket(`${server.url.replace("http", "ws")}/test/live/realtime`)
  const results = queue<Record<string, unknown>>()
  socket.on("message", (data: Buffer) => {
    const read = unpackMessage(data)
    if ("value" in read) results.push(read.value as Record<string, unknown>)
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }))
  })
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve)
    socket.once("error", reject)
  })
  const send = (value: unknown) => socket.send(packMessage(value))
  const ask = async (value: unknown) => {
    send(value)
    return await results.next()
  }
  return { socket, results, closed, send, ask }
}
