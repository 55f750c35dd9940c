import { timingSafeEqual } from "node:crypto"
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { Duplex } from "node:stream"
import {
  decodeRunnerFrames,
  encodeFrames,
  linkMessageBytesMax,
  LinkProtocolError,
  linkVersion,
  type GatewayFrame,
  type RunnerFrame,
} from "@tintype/protocol"
import { WebSocketServer, type WebSocket } from "ws"
import type { Dispatcher } from "./dispatcher.ts"
import type { RunnerLink, RunnerSession } from "./runner-session.ts"
import type { Transfers } from "./transfers.ts"

export interface LinkServerParts {
  dispatcher: Dispatcher
  transfers: Transfers
  /** The local runner's secret. */
  secret: string
  pendingBytesMax: number
  log(entry: Record<string, unknown>): void
}

/** Where runners dial in: `/_/link` and `/_/transfer/…` on the data folder's Unix socket. */
export class LinkServer {
  readonly #parts: LinkServerParts
  readonly #http: Server
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: linkMessageBytesMax,
    perMessageDeflate: false,
  })

  constructor(parts: LinkServerParts) {
    this.#parts = parts
    this.#http = createServer((request, response) => {
      if (this.#isKnown(request)) parts.transfers.handle(request, response)
      else response.writeHead(401).end()
    })
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head))
  }

  async listen(socketPath: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject)
      this.#http.listen(socketPath, resolve)
    })
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#http.closeAllConnections()
    await new Promise<void>((resolve) => this.#http.close(() => resolve()))
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.url !== "/_/link" || !this.#isKnown(request)) {
      socket.end("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n")
      return
    }
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
      void new LinkSocket(webSocket, this.#parts)
    })
  }

  #isKnown(request: IncomingMessage): boolean {
    const given = Buffer.from(request.headers.authorization ?? "")
    const expected = Buffer.from(`Bearer ${this.#parts.secret}`)
    return given.length === expected.length && timingSafeEqual(given, expected)
  }
}

/**
 * One socket from a runner, from its hello to its close. Frames are applied one after the other; those that arrive while
 * the hello is being answered wait for it.
 */
class LinkSocket implements RunnerLink {
  readonly #socket: WebSocket
  readonly #parts: LinkServerParts
  #session: RunnerSession | null = null
  #applied: Promise<void> = Promise.resolve()
  #outgoing: GatewayFrame[] = []

  constructor(socket: WebSocket, parts: LinkServerParts) {
    this.#socket = socket
    this.#parts = parts
    socket.on("message", (data: Buffer) => this.#receive(data))
    socket.on("error", () => socket.terminate())
    socket.on("close", () => {
      this.#applied = this.#applied.then(() => {
        if (this.#session !== null) parts.dispatcher.detach(this.#session, this)
      })
    })
  }

  /** Frames of one tick leave in one message. */
  send(frame: GatewayFrame): void {
    if (this.#outgoing.push(frame) === 1) queueMicrotask(() => this.#flush())
  }

  close(code: number, reason: string): void {
    this.#flush()
    this.#socket.close(code, reason)
    // A peer that does not answer the close is cut off: it dials again, and is the same session.
    setTimeout(() => this.#socket.terminate(), 1_000).unref()
  }

  #flush(): void {
    if (this.#outgoing.length === 0) return
    const frames = this.#outgoing
    this.#outgoing = []
    if (this.#socket.readyState !== this.#socket.OPEN) return
    for (const message of encodeFrames(frames)) this.#socket.send(message)
  }

  #receive(data: Buffer): void {
    let frames: RunnerFrame[]
    try {
      frames = decodeRunnerFrames(data)
    } catch (error) {
      if (!(error instanceof LinkProtocolError)) throw error
      this.#refuse(error.message)
      return
    }
    // Once the hello is answered nothing here waits, and frames are applied as they come.
    if (this.#session !== null) {
      this.#apply(frames)
      return
    }
    this.#applied = this.#applied.then(async () => {
      if (this.#session === null) await this.#hello(frames.shift())
      this.#apply(frames)
    })
    this.#applied.catch((error: unknown) => {
      this.#parts.log({ event: "hello_failed", error: String(error) })
      this.close(1013, "try again")
    })
  }

  async #hello(frame: RunnerFrame | undefined): Promise<void> {
    if (frame?.type !== "hello") return this.#refuse("the first frame is not a hello")
    if (frame.version !== linkVersion) return this.#refuse(`link version ${linkVersion} is spoken`)
    this.#session = await this.#parts.dispatcher.hello(frame, this)
  }

  #apply(frames: RunnerFrame[]): void {
    const session = this.#session
    if (session === null) return
    for (const frame of frames) {
      if (this.#socket.readyState !== this.#socket.OPEN) return
      const wrong =
        frame.type === "hello"
          ? "a second hello"
          : this.#parts.dispatcher.frame(session, frame)
      if (wrong !== null) return this.#refuse(wrong)
    }
    this.#pauseWhileFull()
  }

  #pauseWhileFull(): void {
    if (this.#parts.dispatcher.events.pendingBytes <= this.#parts.pendingBytesMax) return
    this.#socket.pause()
    const timer = setInterval(() => {
      if (this.#parts.dispatcher.events.pendingBytes > this.#parts.pendingBytesMax) return
      clearInterval(timer)
      this.#socket.resume()
    }, 20)
  }

  #refuse(reason: string): void {
    this.#parts.log({ event: "link_protocol_error", reason })
    this.close(1002, reason.slice(0, 120))
  }
}
