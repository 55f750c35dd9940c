import type { WebSocket } from "ws"
import type { Channel, ChannelEnd, ChannelMessage, ChannelPeer } from "../../realtime.ts"
import { InputBuffer, type InputBufferLimits } from "./input-buffer.ts"
import type { SharedBytes } from "./shared-bytes.ts"

export interface CallerSocketParts {
  inputs: Omit<InputBufferLimits, "shared">
  /** Answers that the caller has not read; beyond, its inputs wait. */
  outputBytesMax: number
  /** Without an input for so long it ends; 0: never. */
  idleMs: number
  /** Called once, when it is over. */
  onClosed(told: ChannelSummary): void
}

/** What a channel has come to. */
export interface ChannelSummary {
  inputs: number
  outputs: number
  dropped: number
  /** Of the WebSocket's close. */
  code: number
}

/**
 * A caller's WebSocket, between its upgrade and its close. It owns the inputs that wait and the limit of what the caller
 * has not read.
 *
 *     open ──no input for idleMs, and all is answered──▶ closing ──▶ closed
 *       └───── the channel ends, the caller goes ───────────▲
 *
 * Invariant: the channel is fed only while what the caller has not read is below its limit, so that one who does
 * not read holds one answer more than that.
 */
export class CallerSocket implements ChannelPeer {
  readonly #socket: WebSocket
  readonly #parts: CallerSocketParts
  readonly #shared: SharedBytes
  readonly #inputs: InputBuffer
  #channel: Channel | null = null
  #idle: NodeJS.Timeout | null = null
  #isIdle = false
  #received = 0
  #sent = 0
  /** Of its answers, as far as they have not left. */
  #unsent = 0
  #code: number | null = null
  /** Bytes that waited at the last ping: who reads them is alive, however long the rest of them takes. */
  #unread = 0
  /** Pings in a row at which nothing of it had left. */
  #stalls = 0
  #isHeard = true

  constructor(socket: WebSocket, parts: CallerSocketParts, shared: SharedBytes) {
    this.#socket = socket
    this.#parts = parts
    this.#shared = shared
    this.#inputs = new InputBuffer({ ...parts.inputs, shared })
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary))
    socket.on("pong", () => (this.#isHeard = true))
    socket.on("ping", () => (this.#isHeard = true))
    // It says why in its own close frame: 1009 for a message that is too large, 1002 for a broken one.
    socket.on("error", () => this.#cutOffLater())
    socket.on("close", (code) => this.#closed(code))
  }

  /** From here on its inputs go to the app. */
  attach(channel: Channel): void {
    this.#channel = channel
    this.#watchIdle()
    this.offer()
  }

  next(): ChannelMessage | null {
    if (this.#isFull) return null
    return this.#inputs.shift()
  }

  output({ form, data }: ChannelMessage): void {
    this.#sent += 1
    this.#hold(data.byteLength)
    this.#socket.send(data, { binary: form === "msgpack" }, () => {
      if (this.#unsent > 0) this.#hold(-data.byteLength)
      this.offer()
    })
    // Not now: a channel that ends with this answer takes nothing more.
    queueMicrotask(() => {
      this.offer()
      this.#endIfIdle()
    })
  }

  ended({ code, reason }: ChannelEnd): void {
    this.#channel = null
    this.close(code, reason)
  }

  /** Says a last word, if there is one, and closes. */
  close(code: number, reason: string, lastWord?: object): void {
    if (this.#code !== null) return
    this.#code = code
    if (lastWord !== undefined) this.#socket.send(JSON.stringify(lastWord))
    this.#socket.close(code, closeReason(reason))
    this.#cutOffLater()
    this.#release()
  }

  /**
   * Drops it when nothing was heard since the last ping, unless that is our own fault; sends the next one. One that speaks and
   * does not read what it is told goes after `stallsMax` of them.
   */
  ping(isOurFault: boolean): void {
    const unread = this.#socket.bufferedAmount
    const stands = unread >= this.#unread
    this.#stalls = stands && unread > 0 && !isOurFault ? this.#stalls + 1 : 0
    if ((!this.#isHeard && stands && !isOurFault) || this.#stalls >= stallsMax) {
      this.#socket.terminate()
      return
    }
    this.#unread = unread
    this.#isHeard = false
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping()
  }

  get #isFull(): boolean {
    return this.#unsent > this.#parts.outputBytesMax || this.#shared.isOver
  }

  #hold(bytes: number): void {
    this.#unsent += bytes
    this.#shared.add(bytes)
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#isHeard = true
    if (this.#code !== null) return
    this.#received += 1
    // A copy: the socket's own memory is larger, and would be kept as long as the input waits.
    this.#inputs.push({ form: isBinary ? "msgpack" : "json", data: Buffer.from(data) })
    this.#watchIdle()
    this.offer()
  }

  /** Gives its next input to the app, as soon as there is one and the caller has read enough. */
  offer(): void {
    const channel = this.#channel
    if (channel === null || channel.isBusy || this.#inputs.size === 0 || this.#isFull) return
    channel.announce()
  }

  #watchIdle(): void {
    const { idleMs } = this.#parts
    if (idleMs === 0 || this.#code !== null) return
    this.#isIdle = false
    if (this.#idle !== null) clearTimeout(this.#idle)
    this.#idle = setTimeout(() => {
      this.#isIdle = true
      this.#endIfIdle()
    }, idleMs)
  }

  /** What is under way is finished first. */
  #endIfIdle(): void {
    if (!this.#isIdle || this.#inputs.size > 0 || this.#channel?.isBusy === true) return
    this.close(1000, "", timeoutWord)
  }

  #closed(code: number): void {
    this.#code ??= code
    this.#release()
    this.#hold(-this.#unsent)
    if (this.#cutOff !== null) clearTimeout(this.#cutOff)
    const { dropped } = this.#inputs
    this.#parts.onClosed({
      inputs: this.#received,
      outputs: this.#sent,
      dropped,
      code: this.#code,
    })
  }

  #release(): void {
    if (this.#idle !== null) clearTimeout(this.#idle)
    this.#inputs.clear()
    const channel = this.#channel
    this.#channel = null
    channel?.close()
  }

  #cutOff: NodeJS.Timeout | null = null

  /** A peer that does not answer the close is cut off. */
  #cutOffLater(): void {
    this.#cutOff ??= setTimeout(() => this.#socket.terminate(), closeMs)
    this.#cutOff.unref()
  }
}

/** A minute, at a ping every 20 s. */
const stallsMax = 3

/** For the other end's half of a close. */
const closeMs = 2_000

const timeoutWord = {
  type: "x-fal-error",
  error: "TIMEOUT",
  reason: "no inputs, reconnect when needed!",
}

/** A close frame has room for 123 bytes; a letter that is cut in two becomes a mark of three. */
function closeReason(text: string): string {
  return Buffer.from(text).subarray(0, 120).toString()
}
