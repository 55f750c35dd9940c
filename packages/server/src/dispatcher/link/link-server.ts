import { timingSafeEqual } from "node:crypto"
import { once } from "node:events"
import { chmod } from "node:fs/promises"
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
import type { Dispatcher } from "../dispatcher.ts"
import type { RunnerLink, RunnerSession } from "../runner-session.ts"
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
    this.#http.listen(socketPath)
    // Rejects when there is an error first.
    await once(this.#http, "listening")
    await chmod(socketPath, 0o600)
    this.#http.on("error", (error) => this.#parts.log({ event: "link_server_failed", error }))
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#http.closeAllConnections()
    await new Promise<void>((resolve) => this.#http.close(() => resolve()))
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.url !== "/_/link" || !this.#isKnown(request)) {
      // A peer that is gone already is no error of ours; one that stays must not hold up our end.
      socket.on("error", () => {})
      socket.once("finish", () => socket.destroy())
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
 * One socket from a runner, from its hello to its close.
 *
 *     greeting ──hello answered──▶ linked ──refused, closed──▶ over
 *         └──────────refused, expired, closed, silent──────────▲
 *
 * Frames are applied one after the other; those that arrive while the hello is being answered wait for it. Invariant:
 * nothing is applied once the socket is closing.
 */
class LinkSocket implements RunnerLink {
  readonly #socket: WebSocket
  readonly #parts: LinkServerParts
  #session: RunnerSession | null = null
  #applied: Promise<void> = Promise.resolve()
  #outgoing: GatewayFrame[] = []
  #full: NodeJS.Timeout | null = null
  #cutOff: NodeJS.Timeout | null = null

  constructor(socket: WebSocket, parts: LinkServerParts) {
    this.#socket = socket
    this.#parts = parts
    const silent = setTimeout(() => this.#refuse("no hello"), helloMs)
    silent.unref()
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      clearTimeout(silent)
      this.#receive(data, isBinary)
    })
    // The socket says why in its own close frame: 1009 for a message that is too large, 1002 for a broken one.
    socket.on("error", (error) => {
      this.#parts.log({ event: "link_protocol_error", reason: error.message })
      this.#cutOffLater()
    })
    socket.on("close", () => {
      clearTimeout(silent)
      if (this.#full !== null) clearInterval(this.#full)
      if (this.#cutOff !== null) clearTimeout(this.#cutOff)
      this.#then(() => {
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
    this.#cutOffLater()
  }

  /** A peer that does not answer the close is cut off: it dials again, and is the same session. */
  #cutOffLater(): void {
    if (this.#full !== null) this.#socket.resume()
    this.#cutOff ??= setTimeout(() => this.#socket.terminate(), closeMs)
    this.#cutOff.unref()
  }

  #isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  #flush(): void {
    if (this.#outgoing.length === 0) return
    const frames = this.#outgoing
    this.#outgoing = []
    if (!this.#isOpen()) return
    try {
      for (const message of encodeFrames(frames)) this.#socket.send(message)
    } catch (error) {
      // A frame that fits no message; thrown from a microtask it would end the process.
      this.#parts.log({ event: "link_frame_failed", error: String(error) })
      this.close(1011, "a frame is too large")
    }
  }

  /** Whatever fails closes this link and no more: a rejection that nobody hears would end the process. */
  #then(step: () => Promise<void> | void): void {
    this.#applied = this.#applied.then(step).catch((error: unknown) => {
      this.#parts.log({ event: "link_failed", error: String(error) })
      this.close(1013, "try again")
    })
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (!this.#isOpen()) return
    let frames: RunnerFrame[]
    try {
      if (!isBinary) throw new LinkProtocolError("message: binary expected")
      frames = decodeRunnerFrames(data)
    } catch (error) {
      if (!(error instanceof LinkProtocolError)) throw error
      this.#refuse(error.message)
      return
    }
    // Once the hello is answered nothing here waits, and frames are applied as they come.
    if (this.#session !== null) this.#apply(frames)
    else this.#then(() => this.#greet(frames))
  }

  async #greet(frames: RunnerFrame[]): Promise<void> {
    if (!this.#isOpen()) return
    if (this.#session === null) {
      // What a peer sends before it was answered waits in its own buffers.
      this.#socket.pause()
      try {
        await this.#hello(frames.shift())
      } finally {
        this.#socket.resume()
      }
    }
    this.#apply(frames)
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
      if (!this.#isOpen()) return
      const wrong =
        frame.type === "hello" ? "a second hello" : this.#parts.dispatcher.frame(session, frame)
      if (wrong !== null) return this.#refuse(wrong)
    }
    this.#pauseWhileFull(session)
  }

  #pauseWhileFull(session: RunnerSession): void {
    const { dispatcher, pendingBytesMax } = this.#parts
    if (this.#full !== null || dispatcher.events.pendingBytes <= pendingBytesMax) return
    this.#socket.pause()
    this.#full = setInterval(() => {
      dispatcher.heardFrom(session)
      if (dispatcher.events.pendingBytes > pendingBytesMax) return
      if (this.#full !== null) clearInterval(this.#full)
      this.#full = null
      this.#socket.resume()
    }, fullLookMs)
    this.#full.unref()
  }

  #refuse(reason: string): void {
    this.#parts.log({ event: "link_protocol_error", reason })
    this.close(1002, reason.slice(0, 120))
  }
}

/** A peer that connects and says nothing. */
const helloMs = 10_000
/** For the other end's half of a close. */
const closeMs = 1_000
const fullLookMs = 20
