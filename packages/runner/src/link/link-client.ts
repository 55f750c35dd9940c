import {
  type GatewayFrame,
  type HelloFrame,
  type RunnerFrame,
  type WelcomeFrame,
  LinkProtocolError,
  createGatewayFrameReader,
  encodeFrames,
} from "@tintype/protocol"
import { WebSocket } from "ws"
import type { RunnerTiming } from "../limits.ts"
import { Backoff } from "./backoff.ts"
import { type DialTarget, dialLink } from "./dial.ts"
import { readRefusal } from "./refusal.ts"

export interface LinkClientOptions {
  target: DialTarget
  timing: Pick<
    RunnerTiming,
    "redialMinMs" | "redialMaxMs" | "refusedRedialMs" | "silenceMs" | "orphanMs"
  >
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
  /** The gateway will not have this runner: its key, or its apps. It is asked again, seldom, until `close`. */
  onRefused(reason: string): void
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
 *                         └────── refused: a long pause
 *
 * Invariants: `hello` is the first frame of a socket and nothing else is sent before `welcome`; what is sent in one tick
 * leaves in one message, as far as it fits; nothing of a message is applied after a frame that breaks the protocol; a
 * socket that was given up is not heard any more.
 */
export class LinkClient {
  readonly #options: LinkClientOptions
  readonly #backoff: Backoff
  readonly #refusedBackoff: Backoff
  #socket: WebSocket | null = null
  /** Of this socket: what one left unfinished is not continued on the next. */
  #readFrames = createGatewayFrameReader()
  #linked = false
  #closed = false
  #outgoing: RunnerFrame[] = []
  #flush: NodeJS.Immediate | null = null
  #redial: NodeJS.Timeout | null = null
  #silence: NodeJS.Timeout | null = null
  #orphan: NodeJS.Timeout | null = null
  #orphanMs: number
  /** Why there is no link, as it was noted last: a server that is away is not told of at every dial. */
  #noted: string | null = null

  constructor(options: LinkClientOptions) {
    this.#options = options
    this.#orphanMs = options.timing.orphanMs
    const { redialMinMs, redialMaxMs, refusedRedialMs } = options.timing
    this.#backoff = new Backoff(redialMinMs, redialMaxMs, options.random)
    this.#refusedBackoff = new Backoff(refusedRedialMs, refusedRedialMs, options.random)
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
    const socket = dialLink(this.#options.target)
    this.#socket = socket
    this.#readFrames = createGatewayFrameReader()
    this.#hear()
    socket.on("open", () => {
      if (socket !== this.#socket) return
      for (const message of encodeFrames([this.#options.hello()])) socket.send(message)
    })
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (socket === this.#socket) this.#receive(data, isBinary)
    })
    socket.on("unexpected-response", (_request, response) => {
      void readRefusal(response).then(({ reason, final }) => {
        if (socket === this.#socket) this.#drop(reason, final)
      })
    })
    let problem = ""
    // Whatever the error is, `close` follows it.
    socket.on("error", (error) => (problem = problemOf(error)))
    socket.on("close", (code, reason) => {
      const isRefused = code === refusedCode && !this.#linked
      if (socket === this.#socket) this.#drop(reason.toString() || problem, isRefused)
    })
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#hear()
    const socket = this.#socket
    try {
      if (!isBinary) throw new LinkProtocolError("message: binary expected")
      for (const frame of this.#readFrames(data)) {
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
      this.#noted = null
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

  #drop(reason: string, isRefused = false): void {
    const socket = this.#socket
    const wasLinked = this.#linked
    this.#release()
    // A socket that is closing politely gets the time to say why; a silent one would never answer.
    if (socket?.readyState !== WebSocket.CLOSING) socket?.terminate()
    if (this.#closed) return
    this.#watchOrphan()
    const backoff = isRefused ? this.#refusedBackoff : this.#backoff
    this.#redial = setTimeout(() => this.#dial(), backoff.nextMs())
    if (wasLinked) this.#options.onLost(reason)
    else if (isRefused) this.#options.onRefused(reason)
    else if (reason !== "" && reason !== this.#noted) {
      this.#options.note(`The server cannot be reached (${reason}); dialling on.`)
    }
    this.#noted = reason
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

/** 1008, policy violation: whoever dials again as it is, is closed again. */
const refusedCode = 1008

/** Where several addresses were tried, the error that holds theirs says nothing itself. */
function problemOf(error: Error): string {
  return error instanceof AggregateError ? String(error.errors[0]?.message) : error.message
}
