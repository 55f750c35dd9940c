import type { RunContext } from "@tintype/app"
import {
  channelMessageBytesMax,
  type InputFrame,
  LinkProtocolError,
  type OpenFrame,
  type RunnerFrame,
} from "@tintype/protocol"
import type { HostedApp, MessageAnswer } from "../attempt/app-host.ts"
import type { RunnerTiming } from "../limits.ts"

export interface ChannelParts {
  app: HostedApp | undefined
  timing: Pick<RunnerTiming, "graceMs">
  send(frame: RunnerFrame): void
  /** Spends a credit. Throws `LinkProtocolError` when there is none. */
  takeSlot(): void
  freeSlot(): void
  /** The gateway has heard the last of it. */
  onClosed(): void
  /** The app goes on although its signal was aborted and its grace is over. */
  onStuck(): void
  createContext(open: OpenFrame, signal: AbortSignal): RunContext
}

/**
 * A caller's realtime connection, as its app sees it.
 *
 *     idle ──input──▶ working ──output──▶ idle
 *       └──────────────┴──── close, the app failed ────▶ ending ──the app has ended, or its grace──▶ closed
 *
 * Invariants: one input at a time; each has one output, unless the channel ends first; a slot is held while the app works,
 * by an exclusive channel from its first input on, and freed when the app has really ended.
 */
export class Channel {
  readonly #open: OpenFrame
  readonly #parts: ChannelParts
  readonly #controller = new AbortController()
  #working = false
  #hasSlot = false
  #end: { code: number; reason: string } | null = null
  #isClosed = false
  #timer: NodeJS.Timeout | null = null

  constructor(open: OpenFrame, parts: ChannelParts) {
    this.#open = open
    this.#parts = parts
  }

  /** Has the app answer it. Throws `LinkProtocolError` when the input before has no answer, or without a credit. */
  input(frame: InputFrame): void {
    if (this.#working) throw new LinkProtocolError("input: the one before has no output")
    if (!this.#hasSlot) this.#parts.takeSlot()
    this.#hasSlot = true
    // Sent before the gateway knew that it has ended.
    if (this.#end !== null) this.#freeSlot()
    else void this.#work(frame)
  }

  /** The caller is gone, or the link. */
  close(): void {
    this.#endWith(1000, "")
  }

  async #work(frame: InputFrame): Promise<void> {
    const { timeoutMs } = this.#open
    this.#working = true
    const limit = setTimeout(
      () => this.#fail("REQUEST_TIMEOUT", `The app took longer than ${timeoutMs / 1_000} s`),
      Math.min(timeoutMs, timerMsMax),
    )
    const answer = await this.#answer(frame)
    clearTimeout(limit)
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#working = false
    if (this.#end === null && answer !== null) {
      const { form, data, failed } = answer
      this.#parts.send({ type: "output", channel: this.#open.channel, form, data })
      if (failed) this.#endWith(1011, "The app failed")
    }
    if (this.#end !== null) this.#sayClosed()
    if (this.#end !== null || !this.#open.exclusive) this.#freeSlot()
  }

  /** Null after an abort, when nobody wants to know. Never rejects. */
  async #answer({ form, data }: InputFrame): Promise<MessageAnswer | null> {
    const { app } = this.#parts
    const { path } = this.#open
    try {
      const context = this.#parts.createContext(this.#open, this.#controller.signal)
      const answer = await app?.respondMessage?.({ path, form, data }, context)
      if (answer !== undefined && answer.data.byteLength > channelMessageBytesMax) {
        return failure(
          "INTERNAL_ERROR",
          `The answer is larger than ${channelMessageBytesMax} bytes`,
        )
      }
      return answer ?? failure("NOT_FOUND", `This runner does not host ${this.#open.endpoint}`)
    } catch (error) {
      return this.#end === null ? failure("INTERNAL_ERROR", String(error)) : null
    }
  }

  #fail(error: string, reason: string): void {
    if (this.#end !== null) return
    const { form, data } = failure(error, reason)
    this.#parts.send({ type: "output", channel: this.#open.channel, form, data })
    this.#endWith(1011, reason)
  }

  #endWith(code: number, reason: string): void {
    if (this.#end !== null) return
    this.#end = { code, reason }
    this.#controller.abort(new DOMException("The channel has ended.", "AbortError"))
    if (this.#working) this.#startGrace()
    else {
      this.#sayClosed()
      this.#freeSlot()
    }
  }

  #startGrace(): void {
    this.#timer = setTimeout(() => {
      this.#sayClosed()
      this.#parts.onStuck()
    }, this.#parts.timing.graceMs)
    this.#timer.unref()
  }

  #sayClosed(): void {
    if (this.#isClosed || this.#end === null) return
    this.#isClosed = true
    const { code, reason } = this.#end
    this.#parts.send({ type: "closed", channel: this.#open.channel, code, reason })
    this.#parts.onClosed()
  }

  #freeSlot(): void {
    if (!this.#hasSlot) return
    this.#hasSlot = false
    this.#parts.freeSlot()
  }
}

/** The longest that a timer of Node's can wait. */
const timerMsMax = 2 ** 31 - 1

function failure(error: string, reason: string): MessageAnswer {
  const told = { type: "x-fal-error", error, reason: reason.slice(0, 1_000) }
  return { form: "json", data: new TextEncoder().encode(JSON.stringify(told)), failed: true }
}
