import { decode, encode } from "@msgpack/msgpack"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { createClient } from "../client.ts"
import type { TintypeError } from "../errors.ts"
import type { WebSocketEvent, WebSocketLike } from "../settings.ts"
import type { RealtimeOptions } from "./connection.ts"

/** A WebSocket whose other end is the test: what a real one does too rarely, or takes too long for. */
class ScriptedSocket implements WebSocketLike {
  static made: ScriptedSocket[] = []
  binaryType = ""
  bufferedAmount = 0
  readyState = 0
  readonly url: string
  readonly sent: unknown[] = []
  closedWith: number | undefined | "open" = "open"
  readonly #listeners = new Map<string, (event: WebSocketEvent) => void>()

  constructor(url: string) {
    this.url = url
    ScriptedSocket.made.push(this)
  }

  addEventListener(type: string, listener: (event: WebSocketEvent) => void): void {
    this.#listeners.set(type, listener)
  }

  send(data: string | ArrayBufferView<ArrayBuffer>): void {
    const { buffer, byteOffset, byteLength } = data as Uint8Array
    const isText = typeof data === "string"
    this.sent.push(
      isText ? JSON.parse(data) : decode(new Uint8Array(buffer, byteOffset, byteLength)),
    )
  }

  close(code?: number): void {
    this.closedWith = code
    this.readyState = 3
  }

  tell(type: string, event: WebSocketEvent = {}): void {
    if (type === "open") this.readyState = 1
    if (type === "close") this.readyState = 3
    this.#listeners.get(type)?.(event)
  }
}

const results: unknown[] = []
const errors: TintypeError[] = []
/** Lets what is awaited inside the connection happen. */
const settle = () => vi.advanceTimersByTimeAsync(0)

beforeEach(() => {
  vi.useFakeTimers()
  ScriptedSocket.made = []
  results.length = 0
  errors.length = 0
})

afterEach(() => {
  vi.useRealTimers()
})

function connect(options: Partial<RealtimeOptions<unknown>> = {}) {
  const client = createClient({ url: "https://example.com/x", webSocket: ScriptedSocket })
  return client.realtime.connect("a/b", {
    onResult: (result) => results.push(result),
    onError: (error) => errors.push(error),
    ...options,
  })
}

async function opened(at = 0): Promise<ScriptedSocket> {
  await settle()
  const socket = ScriptedSocket.made[at]
  if (socket === undefined) throw new Error(`no connection ${at} was made`)
  socket.tell("open")
  return socket
}

describe("a realtime connection", () => {
  it("is made where the endpoint is, as asked", async () => {
    connect({ maxBuffering: 4, token: "tok" })
    const socket = await opened()
    expect(socket.url).toBe(
      "wss://example.com/x/run/a/b/realtime?max_buffering=4&fal_jwt_token=tok",
    )
    expect(socket.binaryType).toBe("arraybuffer")
    connect({ path: "/other" })
    expect((await opened(1)).url).toBe("wss://example.com/x/run/a/b/other")
  })

  it("sends what waited, the newest of too much, and what follows at once", async () => {
    const connection = connect({ waitingMax: 2 })
    for (const n of [1, 2, 3]) connection.send({ n })
    const socket = await opened()
    connection.send({ n: 4, left: undefined })
    expect(socket.sent).toEqual([{ n: 2 }, { n: 3 }, { n: 4 }])
  })

  it("holds inputs back while it is slow, and drops the oldest of them", async () => {
    const connection = connect({ waitingMax: 2 })
    const socket = await opened()
    socket.bufferedAmount = 2 * 1024 * 1024
    for (const n of [1, 2, 3]) connection.send({ n })
    await vi.advanceTimersByTimeAsync(200)
    expect(socket.sent).toEqual([])
    socket.bufferedAmount = 0
    await vi.advanceTimersByTimeAsync(50)
    expect(socket.sent).toEqual([{ n: 2 }, { n: 3 }])
  })

  it("reads both encodings, and passes over what is of the connection", async () => {
    connect()
    const socket = await opened()
    const bytes = encode({ image: new Uint8Array([1, 2]) })
    socket.tell("message", { data: bytes.buffer.slice(0, bytes.byteLength) })
    socket.tell("message", { data: '{"text":"é"}' })
    socket.tell("message", { data: '{"type":"x-fal-message","action":"timings","timing":1}' })
    expect(results).toEqual([{ image: new Uint8Array([1, 2]) }, { text: "é" }])
    expect(errors).toEqual([])
  })

  it("after the word that no input came it is made again by the next one, without an error", async () => {
    const connection = connect()
    const socket = await opened()
    socket.tell("message", {
      data: '{"type":"x-fal-error","error":"TIMEOUT","reason":"no inputs"}',
    })
    socket.tell("close", { code: 1000 })
    await settle()
    expect(ScriptedSocket.made).toHaveLength(1)
    connection.send({ n: 1 })
    expect((await opened(1)).sent).toEqual([{ n: 1 }])
    expect(errors).toEqual([])
  })

  it("what was given while the server said goodbye is sent on the next one", async () => {
    const connection = connect()
    const socket = await opened()
    socket.readyState = 2
    connection.send({ n: 1 })
    socket.tell("close", { code: 1000 })
    expect((await opened(1)).sent).toEqual([{ n: 1 }])
  })

  it.each(["not JSON", Uint8Array.from([0xc1]).buffer])(
    "what is no message is an error",
    async (data) => {
      connect()
      const socket = await opened()
      socket.tell("message", { data })
      expect(errors).toMatchObject([{ code: "malformed" }])
      expect(socket.closedWith).toBeUndefined()
    },
  )

  it.each([
    ['{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"boom"}', "INTERNAL_ERROR", "boom"],
    ['{"status":"error","error":"Unauthorized"}', "Unauthorized", "Unauthorized"],
  ])("an error is told once, though a close follows it [%s]", async (data, code, message) => {
    connect()
    const socket = await opened()
    socket.tell("message", { data })
    socket.tell("close", { code: 1011, reason: "boom" })
    expect(errors).toMatchObject([{ name: "RealtimeError", code, message }])
  })

  it("a close that is none of its own is an error, and drops what waits", async () => {
    const connection = connect()
    connection.send({ n: 1 })
    await settle()
    ScriptedSocket.made[0]?.tell("close", { code: 1013, reason: "busy" })
    expect(errors).toMatchObject([{ code: "closed", closeCode: 1013 }])
    expect(errors[0]?.message).toContain("1013: busy")
    connection.send({ n: 2 })
    expect((await opened(1)).sent).toEqual([{ n: 2 }])
  })

  it("a handshake that takes more than 90 s is given up", async () => {
    connect()
    await vi.advanceTimersByTimeAsync(89_999)
    expect(errors).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(errors).toMatchObject([{ code: "timeout" }])
    expect(ScriptedSocket.made[0]?.closedWith).toBeUndefined()
  })

  it("a token that cannot be had is an error, and the next input asks again", async () => {
    let asked = 0
    const connection = connect({
      token: () => {
        asked += 1
        return asked === 1 ? Promise.reject(new Error("no token today")) : "second"
      },
    })
    await settle()
    expect(errors).toMatchObject([
      { code: "unreachable", message: expect.stringContaining("no token") },
    ])
    connection.send({ n: 1 })
    expect((await opened()).url).toContain("fal_jwt_token=second")
  })

  it("closed while its token is made, it makes no connection", async () => {
    const token = Promise.withResolvers<string>()
    const connection = connect({ token: () => token.promise })
    connection.close()
    token.resolve("late")
    await settle()
    expect(ScriptedSocket.made).toEqual([])
  })

  it("closed, it says so to the server, hears nothing more and leaves no timer", async () => {
    const connection = connect({ signal: new AbortController().signal })
    const socket = await opened()
    connection.close()
    socket.tell("message", { data: "{}" })
    socket.tell("close", { code: 1006 })
    expect([socket.closedWith, results, errors]).toEqual([1000, [], []])
    expect(vi.getTimerCount()).toBe(0)
  })
})

it("a runtime without a WebSocket says what to do", async () => {
  const global = globalThis as { WebSocket?: unknown }
  const known = global.WebSocket
  delete global.WebSocket
  const client = createClient()
  global.WebSocket = known
  client.realtime.connect("a/b", { onResult: () => {}, onError: (error) => errors.push(error) })
  await settle()
  expect(errors[0]?.message).toContain("pass one as `webSocket`")
})
