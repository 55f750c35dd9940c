import type { ChannelMessage } from "../../realtime.ts"
import type { SharedBytes } from "./shared-bytes.ts"

export interface InputBufferLimits {
  countMax: number
  bytesMax: number
  /** What all buffers hold; beyond its limit nothing is kept, as a thousand of them would fill any memory. */
  shared: SharedBytes
}

/** Inputs of one caller that wait, in their order. At a limit the oldest makes room: the newest is what the caller sees now. */
export class InputBuffer {
  readonly #limits: InputBufferLimits
  readonly #messages: ChannelMessage[] = []
  #bytes = 0
  /** How many inputs were never answered. */
  dropped = 0

  constructor(limits: InputBufferLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#messages.length
  }

  push(message: ChannelMessage): void {
    this.#messages.push(message)
    this.#hold(message.data.byteLength)
    while (this.#isFull) {
      this.shift()
      this.dropped += 1
    }
  }

  shift(): ChannelMessage | null {
    const message = this.#messages.shift()
    if (message === undefined) return null
    this.#hold(-message.data.byteLength)
    return message
  }

  clear(): void {
    this.dropped += this.#messages.length
    this.#messages.length = 0
    this.#hold(-this.#bytes)
  }

  get #isFull(): boolean {
    const { countMax, bytesMax, shared } = this.#limits
    if (this.size > countMax || (this.size > 1 && this.#bytes > bytesMax)) return true
    return this.size > 0 && shared.isOver
  }

  #hold(bytes: number): void {
    this.#bytes += bytes
    this.#limits.shared.add(bytes)
  }
}
