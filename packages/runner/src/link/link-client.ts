import { createConnection } from "node:net"
import {
  type GatewayFrame,
  type HelloFrame,
  type RunnerFrame,
  type WelcomeFrame,
  LinkProtocolError,
  decodeGatewayFrames,
  encodeFrames,
  linkMessageBytesMax,
} from "@tintype/protocol"
import { WebSocket } from "ws"
import { Backoff } from "./backoff.ts"
import type { RunnerTiming } from "../limits.ts"

/** Where the gateway is found. */
export interface DialTarget {
  /** The Unix socket that the gateway listens on. */
  socketPath: string
  /** Sent as a bearer token. */
  secret: string
}

export interface LinkClientOptions {
  target: DialTarget
  timing: Pick<RunnerTiming, "redialMinMs" | "redialMaxMs" | "silenceMs" | "orphanMs">
  /** In [0, 1). */
  random: () => number
  /** The first frame of a new link: what is held at this moment. */
  hello(): HelloFrame
  /** The link is open: say again what the gateway does not have. */
  onWelcome(frame: WelcomeFrame): void
  /** Anything after the welcome, in order. A `LinkProtocolError` thrown here closes the link with 1002. */
  onFrame(frame: Exclude<GatewayFrame, WelcomeFrame>): void
  /** A link that was welcomed is gone; `reason` is the gateway's, if it gave one. */
  onLost(reason: string): void
  /** There has been no link for `orphanMs`. Dialling goes on until `close`. */
  onOrphaned(): void
  /** For the runner's own log. */
  note(message: string): void
}

/**
 * The runner's end of the link: exactly one socket at a time, dialled again for ever.
 *
 *     closed ──dial──▶ dialling ──open, hello──▶ greeting ──welcome──▶ linked
 *                         ▲────── any end of the socket, backoff ────────┘
 *
 * Invariants: `hello` is the first frame of a socket and nothing else is sent before `welcome`; what is sent in one tick
 * leaves in one message, as far as it fits; nothing of a message is applied after a frame that breaks the protocol; a
 * socket that was given up is not heard any more.
 */
export class LinkClient {
  readonly #options: LinkClientOptions
  readonly #backoff: Backoff
  #socket: WebSocket | null = null
  #linked = false
  #closed = false
  #outgoing: RunnerFrame[] = []
  #flush: NodeJS.Immediate | null = null
  #redial: NodeJS.Timeout | null = null
  #silence: NodeJS.Timeout | null = null
  #orphan: NodeJS.Timeout | null = null
  #orphanMs: number

  constructor(options: LinkClientOptions) {
    this.#options = options
    this.#orphanMs = options.timing.orphanMs
    const { redialMinMs, redialMaxMs } = options.timing
    this.#backoff = new Backoff(redialMinMs, redialMaxMs, options.random)
  }

  get linked(): boolean {
    return this.#linked
  }

  /** How long without a link is too long; the last `welcome` said so. */
  get orphanMs(): number {
    return this.#orphanMs
  }

  start(): void {
    this.#watchOrphan()
    this.#dial()
  }

  /** Sends a frame if there is a link. Otherwise it is lost, and said again after the next welcome. */
  send(frame: RunnerFrame): void {
    if (!this.#linked) return
    this.#outgoing.push(frame)
    this.#flush ??= setImmediate(() => this.#sendOutgoing())
  }

  /** Sends what is waiting, closes the socket and never dials again. */
  async close(): Promise<void> {
    this.#sendOutgoing()
    this.#closed = true
    if (this.#redial !== null) clearTimeout(this.#redial)
    if (this.#orphan !== null) clearTimeout(this.#orphan)
    const socket = this.#socket
    this.#release()
    if (socket === null) return
    await new Promise<void>((resolve) => {
      const impatience = setTimeout(() => socket.terminate(), 1_000)
      socket.on("close", () => {
        clearTimeout(impatience)
        resolve()
      })
      if (socket.readyState === WebSocket.CONNECTING) socket.terminate()
      else socket.close(1000)
    })
  }

  #dial(): void {
    this.#redial = null
    const { socketPath, secret } = this.#options.target
    const socket = new WebSocket("ws://localhost/_/link", {
      // Not a `ws+unix:` URL: it cannot say a path that has a colon or a space in it.
      createConnection: () => createConnection(socketPath),
      headers: { authorization: `Bearer ${secret}` },
      maxPayload: linkMessageBytesMax,
      perMessageDeflate: false,
    })
    this.#socket = socket
    this.#hear()
    socket.on("open", () => {
      if (socket !== this.#socket) return
      for (const message of encodeFrames([this.#options.hello()])) socket.send(message)
    })
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (socket === this.#socket) this.#receive(data, isBinary)
    })
    // Whatever the error is, `close` follows it.
    socket.on("error", () => {})
    socket.on("close", (_code, reason) => {
      if (socket === this.#socket) this.#drop(reason.toString())
    })
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#hear()
    const socket = this.#socket
    try {
      if (!isBinary) throw new LinkProtocolError("message: binary expected")
      for (const frame of decodeGatewayFrames(data)) {
        this.#apply(frame)
        // A frame may have ended this very link; what came after it in the message is void.
        if (socket !== this.#socket) return
      }
    } catch (error) {
      if (!(error instanceof LinkProtocolError)) throw error
      this.#options.note(`The gateway broke the link's protocol: ${error.message}`)
      socket?.close(1002, error.message.slice(0, 100))
      this.#drop(error.message)
    }
  }

  #apply(frame: GatewayFrame): void {
    if (frame.type === "welcome") {
      if (this.#linked) throw new LinkProtocolError("welcome: there was one already")
      this.#linked = true
      this.#orphanMs = frame.orphanMs
      this.#backoff.reset()
      if (this.#orphan !== null) clearTimeout(this.#orphan)
      this.#orphan = null
      this.#options.onWelcome(frame)
      return
    }
    if (!this.#linked) throw new LinkProtocolError(`${frame.type}: before welcome`)
    if (frame.type === "ping") this.send({ type: "pong", at: frame.at })
    else this.#options.onFrame(frame)
  }

  #sendOutgoing(): void {
    if (this.#flush !== null) clearImmediate(this.#flush)
    this.#flush = null
    const frames = this.#outgoing
    this.#outgoing = []
    const socket = this.#socket
    if (frames.length === 0 || socket === null || socket.readyState !== WebSocket.OPEN) return
    for (const message of encodeFrames(frames)) socket.send(message)
  }

  /** Something was heard, or may be from now on. */
  #hear(): void {
    if (this.#silence === null) {
      const { silenceMs } = this.#options.timing
      this.#silence = setTimeout(() => this.#drop("silence"), silenceMs)
    } else {
      this.#silence.refresh()
    }
  }

  #drop(reason: string): void {
    const socket = this.#socket
    const wasLinked = this.#linked
    this.#release()
    // A socket that is closing politely gets the time to say why; a silent one would never answer.
    if (socket?.readyState !== WebSocket.CLOSING) socket?.terminate()
    if (this.#closed) return
    this.#watchOrphan()
    this.#redial = setTimeout(() => this.#dial(), this.#backoff.nextMs())
    if (wasLinked) this.#options.onLost(reason)
  }

  #release(): void {
    this.#socket = null
    this.#linked = false
    this.#outgoing = []
    if (this.#flush !== null) clearImmediate(this.#flush)
    if (this.#silence !== null) clearTimeout(this.#silence)
    this.#flush = null
    this.#silence = null
  }

  #watchOrphan(): void {
    this.#orphan ??= setTimeout(() => {
      this.#orphan = null
      this.#options.onOrphaned()
    }, this.#orphanMs)
  }
}
