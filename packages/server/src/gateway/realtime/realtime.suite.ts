import { createConnection, type Socket } from "node:net"
import { type App, defineApp, type RealtimeOptions, type RunContext } from "@tintype/app"
import { packMessage, unpackMessage } from "@tintype/protocol"
import { type ClientOptions, WebSocket } from "ws"
import { z } from "zod"
import { TestServer, type TestServerOptions } from "../../dispatcher/dispatcher.suite.ts"
import type { RealtimeRow } from "../../store.ts"
import { openTestGateway, type TestGateway, type TestGatewayOptions } from "../gateway.suite.ts"

/** A gateway in front of a dispatcher, each on real sockets; the tests bring callers and runners. */
export interface RealtimeServer {
  gateway: TestGateway
  server: TestServer
  close(): Promise<void>
}

export async function openRealtimeServer(
  options: TestGatewayOptions & { dispatcher?: TestServerOptions; row?: RealtimeRow } = {},
): Promise<RealtimeServer> {
  const { dispatcher, row = {}, ...ours } = options
  const server = await TestServer.open({ inMemory: true, ...dispatcher })
  const parts = { channels: server.dispatcher.channels, ...ours.parts }
  const gateway = await openTestGateway({ ...ours, parts })
  await gateway.store.putApp({
    id: liveId,
    endpoints: [liveId, `${liveId}/plain`],
    openapi: {},
    metadata: {},
    auth: "shared",
    realtime: { [liveId]: row },
    revision: 1,
  })
  const close = async () => {
    for (const caller of callers) caller.socket.terminate()
    callers.clear()
    await server.dispatcher.drain(0, AbortSignal.abort())
    await gateway.close()
  }
  return { gateway, server, close }
}

export const liveId = "acme/live"

const input = z.object({
  n: z.int(),
  request_id: z.string().default(""),
  /** Of the answer. */
  bytes: z.int().default(0),
  filler: z.any().optional(),
})
type Input = z.output<typeof input>

/** An app that answers what the test makes of each input; `output.n` tells which one it was. */
export function liveApp(
  work: (input: Input, context: RunContext) => unknown = () => {},
  realtime: Omit<RealtimeOptions, "output" | "run"> = {},
): App {
  const output = z.object({ n: z.int(), filler: z.any() })
  return defineApp({
    id: liveId,
    endpoints: {
      "/": {
        input,
        output,
        run: async (given, context) => {
          await work(given, context)
          return { n: given.n, filler: new Uint8Array(given.bytes) }
        },
        realtime,
      },
    },
  })
}

const callers = new Set<Caller>()

/** A caller's end of a WebSocket. */
export class Caller {
  readonly socket: WebSocket
  /** Objects as they came, texts parsed. */
  readonly received: { isText: boolean; value: Record<string, unknown> }[] = []
  readonly closed: Promise<{ code: number; reason: string }>
  readonly #waiting = new Set<() => void>()
  #read = 0

  constructor(url: string, options: ClientOptions = {}) {
    this.socket = new WebSocket(url, { perMessageDeflate: false, ...options })
    callers.add(this)
    this.socket.on("message", (data: Buffer, isBinary: boolean) => {
      const read = isBinary
        ? unpackMessage(data)
        : { value: JSON.parse(data.toString()) as unknown }
      const value = ("value" in read ? read.value : read) as Record<string, unknown>
      this.received.push({ isText: !isBinary, value })
      this.#wake()
    })
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => {
        callers.delete(this)
        resolve({ code, reason: reason.toString() })
        this.#wake()
      })
    })
    this.socket.on("error", () => {})
  }

  /** Resolves when the WebSocket is open. */
  static async open(
    { port }: Pick<TestGateway, "port">,
    path = `/run/${liveId}/realtime`,
    options: ClientOptions = {},
  ): Promise<Caller> {
    const caller = new Caller(`ws://127.0.0.1:${port}${path}`, options)
    await new Promise<void>((resolve, reject) => {
      caller.socket.once("open", resolve)
      caller.socket.once("error", reject)
    })
    return caller
  }

  send(value: unknown): void {
    this.socket.send(packMessage(value))
  }

  sendText(text: string): void {
    this.socket.send(text)
  }

  /** The next message that was not read before. Rejects when the socket closes first. */
  async next(): Promise<{ isText: boolean; value: Record<string, unknown> }> {
    for (;;) {
      const message = this.received[this.#read]
      if (message !== undefined) {
        this.#read += 1
        return message
      }
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error("closed before a message")
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  async answer(value: unknown): Promise<Record<string, unknown>> {
    this.send(value)
    return (await this.next()).value
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

export interface RefusedUpgrade {
  status: number
  body: Record<string, unknown>
}

/** What an upgrade is answered with that is refused in HTTP. */
export async function refusedUpgrade(
  { port }: Pick<TestGateway, "port">,
  path: string,
  options: ClientOptions = {},
): Promise<RefusedUpgrade> {
  const { promise, resolve, reject } = Promise.withResolvers<RefusedUpgrade>()
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, options)
  socket.on("open", () => reject(new Error("it was upgraded")))
  socket.on("error", () => {})
  socket.on("unexpected-response", (_, response) => {
    let text = ""
    response.on("data", (chunk: Buffer) => (text += chunk.toString()))
    response.on("end", () => {
      resolve({
        status: response.statusCode ?? 0,
        body: JSON.parse(text) as Record<string, unknown>,
      })
    })
  })
  return await promise
}

/** A WebSocket that was opened and then says nothing whatever it is sent, as one whose machine lost its network. */
export async function openDeafSocket({ port }: Pick<TestGateway, "port">): Promise<Socket> {
  const socket = createConnection(port, "127.0.0.1")
  socket.write(
    [
      `GET /run/${liveId}/realtime HTTP/1.1`,
      "host: 127.0.0.1",
      "connection: upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
      "",
      "",
    ].join("\r\n"),
  )
  await new Promise<void>((resolve) => {
    socket.once("data", () => resolve())
  })
  return socket
}

/** Holds whoever waits at it until it is opened. */
export class Gate {
  readonly #promise = Promise.withResolvers<void>()
  readonly #arrived = Promise.withResolvers<void>()
  /** Resolves when somebody waits. */
  readonly arrived = this.#arrived.promise

  async wait(signal?: AbortSignal): Promise<void> {
    this.#arrived.resolve()
    if (signal === undefined) return await this.#promise.promise
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true })
    })
    await Promise.race([this.#promise.promise, aborted])
  }

  open(): void {
    this.#promise.resolve()
  }
}
