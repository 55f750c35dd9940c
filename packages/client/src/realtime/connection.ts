import { RealtimeError, TintypeError } from "../errors.ts"
import { pathOf } from "../stream.ts"
import type { Settings, WebSocketEvent, WebSocketLike } from "../settings.ts"
import { createToken, type TokenSource, tokenQuery } from "../tokens.ts"
import { type Encoding, type Heard, readFrame, writeInput } from "./frames.ts"

export interface RealtimeOptions<Message> {
  /** What it is, the caller says: documents do not, and in realtime a picture is its bytes. */
  onResult: (result: Message) => void
  /** The connection is over, or could not be made; the next `send` makes another. */
  onError?: (error: TintypeError) => void
  /** Below the endpoint; default `/realtime`. */
  path?: string
  /** Inputs that may wait at the server, 1 to 60; the oldest is dropped first. */
  maxBuffering?: number
  /** Inputs that may wait here, while there is no connection yet or it is slow; default 16, the oldest is dropped first. */
  waitingMax?: number
  /** Default `msgpack`, in which a `Uint8Array` is bytes. */
  encoding?: Encoding
  /** Default: with credentials one is made for each connection, without none is shown. */
  token?: TokenSource
  /** Aborted, it closes the connection. */
  signal?: AbortSignal
}

/** Bytes that a slow connection may hold before inputs wait here. */
const bufferedBytesMax = 1024 * 1024
const lookEveryMs = 20
/** A server may hold the handshake while a runner starts. */
const handshakeMs = 90_000
const waitingMaxDefault = 16
const readyStateOpen = 1

/**
 * Inputs out, results in. Owns one WebSocket at a time and the inputs that wait for it:
 *
 *     idle ── send ──▶ connecting ──▶ open ── its end, or 90 s without one ──▶ idle      close: closed, for ever
 *
 * What waits when a connection cannot be made is dropped with the error that says so: in realtime, late is never.
 */
export class RealtimeConnection<Taken, Message = unknown> {
  readonly #settings: Settings
  readonly #endpoint: string
  readonly #options: RealtimeOptions<Message>
  #socket: WebSocketLike | null = null
  #state: "idle" | "connecting" | "open" | "closed" = "idle"
  #waiting: (string | Uint8Array<ArrayBuffer>)[] = []
  #timer: ReturnType<typeof setTimeout> | undefined

  readonly #onAbort = (): void => this.close()

  constructor(settings: Settings, endpoint: string, options: RealtimeOptions<Message>) {
    this.#settings = settings
    this.#endpoint = pathOf(endpoint, options.path ?? "/realtime")
    this.#options = options
    options.signal?.throwIfAborted()
    options.signal?.addEventListener("abort", this.#onAbort, { once: true })
    this.#connect()
  }

  /** Sends it now, or when there is a connection; of too many that wait the oldest is dropped. */
  send(input: Taken): void {
    if (this.#state === "closed") throw new RealtimeError("closed", "The connection is closed")
    this.#waiting.push(writeInput(input, this.#options.encoding ?? "msgpack"))
    const { waitingMax = waitingMaxDefault } = this.#options
    if (this.#waiting.length > waitingMax) this.#waiting.shift()
    if (this.#state === "idle") this.#connect()
    else this.#flush()
  }

  close(): void {
    this.#state = "closed"
    this.#waiting = []
    clearTimeout(this.#timer)
    this.#options.signal?.removeEventListener("abort", this.#onAbort)
    this.#socket?.close(1000)
    this.#socket = null
  }

  #connect(): void {
    this.#state = "connecting"
    this.#open().catch((error: unknown) => {
      const known = error instanceof TintypeError
      this.#fail(known ? error : new RealtimeError("unreachable", String(error)))
    })
  }

  async #open(): Promise<void> {
    const { webSocket: WebSocketOfHere, run } = this.#settings
    if (WebSocketOfHere === null) {
      throw new TypeError("This runtime has no WebSocket: pass one as `webSocket` to createClient")
    }
    const query = new URLSearchParams()
    const { maxBuffering } = this.#options
    if (maxBuffering !== undefined) query.set("max_buffering", String(maxBuffering))
    await tokenQuery(await this.#token(), this.#endpoint, query)
    // It was closed while its token was made.
    if (this.#isClosed()) return
    const asked = query.size === 0 ? "" : `?${query.toString()}`
    const socket = new WebSocketOfHere(`${run.replace(/^http/, "ws")}/${this.#endpoint}${asked}`)
    socket.binaryType = "arraybuffer"
    this.#socket = socket
    const onLate = () => this.#fail(new RealtimeError("timeout", "The handshake took too long"))
    this.#timer = setTimeout(onLate, handshakeMs)
    socket.addEventListener("open", () => this.#onOpen(socket))
    socket.addEventListener("message", (event) => this.#onMessage(socket, event))
    socket.addEventListener("close", (event) => this.#onClose(socket, event))
    // Whatever it was, its close follows and tells more.
    socket.addEventListener("error", () => {})
  }

  async #token(): Promise<TokenSource | undefined> {
    const { token } = this.#options
    if (token !== undefined || (await this.#settings.authorization()) === null) return token
    return await createToken(this.#settings, this.#endpoint)
  }

  #isClosed(): boolean {
    return this.#state === "closed"
  }

  #onOpen(socket: WebSocketLike): void {
    if (socket !== this.#socket) return
    clearTimeout(this.#timer)
    this.#state = "open"
    this.#flush()
  }

  #onMessage(socket: WebSocketLike, { data }: WebSocketEvent): void {
    if (socket !== this.#socket) return
    const heard = read(data)
    if (heard.kind === "result") this.#options.onResult(heard.result as Message)
    // Its close follows, and would say less.
    if (heard.kind === "error") this.#fail(new RealtimeError(heard.code, heard.message))
  }

  #onClose(socket: WebSocketLike, { code = 1006, reason = "" }: WebSocketEvent): void {
    if (socket !== this.#socket) return
    const wasOpen = this.#state === "open"
    this.#socket = null
    clearTimeout(this.#timer)
    this.#state = "idle"
    if (code === 1000) {
      // What came while the server said goodbye gets a connection of its own.
      if (wasOpen && this.#waiting.length > 0) this.#connect()
      return
    }
    const text = `The connection was closed with ${code}${reason === "" ? "" : `: ${reason}`}`
    this.#fail(new RealtimeError("closed", text, code))
  }

  #fail(error: TintypeError): void {
    if (this.#isClosed()) return
    const socket = this.#socket
    this.#socket = null
    this.#state = "idle"
    this.#waiting = []
    clearTimeout(this.#timer)
    socket?.close()
    this.#options.onError?.(error)
  }

  #flush(): void {
    const socket = this.#socket
    if (this.#state !== "open" || socket === null) return
    while (this.#waiting.length > 0 && socket.readyState === readyStateOpen) {
      if (socket.bufferedAmount > bufferedBytesMax) {
        clearTimeout(this.#timer)
        // No event tells when it has sent what it holds.
        this.#timer = setTimeout(() => this.#flush(), lookEveryMs)
        return
      }
      const next = this.#waiting.shift()
      if (next !== undefined) socket.send(next)
    }
  }
}

function read(data: unknown): Heard {
  try {
    return readFrame(data)
  } catch (error) {
    return { kind: "error", code: "malformed", message: String(error) }
  }
}
