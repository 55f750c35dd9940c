import type { GatewayFrame } from "@tintype/protocol"
import type {
  Channel,
  ChannelCall,
  ChannelEnd,
  ChannelMessage,
  ChannelPeer,
} from "../../realtime.ts"

export interface HeldChannelParts {
  send(frame: GatewayFrame): void
  /** It has an input, or has none any more. */
  onWaiting(channel: HeldChannel): void
  onSettled(channel: HeldChannel): void
}

/**
 * The dispatcher's side of a channel.
 *
 *     idle ──announce──▶ waiting ──a slot──▶ busy ──output──▶ idle
 *       └────────────────────┴────────────────┴── close, end ──▶ ending ──closed──▶ (forgotten)
 *
 * Invariant: at most one input is with the app; after `ending` the peer hears nothing.
 */
export class HeldChannel implements Channel {
  readonly call: ChannelCall
  readonly #peer: ChannelPeer
  readonly #parts: HeldChannelParts
  #state: "idle" | "waiting" | "busy" | "ending" = "idle"
  #hasSlot = false
  /** How it ends once its app has answered. */
  #endAfter: ChannelEnd | null = null

  constructor(call: ChannelCall, peer: ChannelPeer, parts: HeldChannelParts) {
    this.call = call
    this.#peer = peer
    this.#parts = parts
  }

  get id(): string {
    return this.call.id
  }

  get isBusy(): boolean {
    return this.#state === "busy"
  }

  get isWaiting(): boolean {
    return this.#state === "waiting"
  }

  announce(): void {
    if (this.#state !== "idle") return
    this.#state = "waiting"
    if (this.#hasSlot) this.feed()
    else this.#parts.onWaiting(this)
  }

  /** Hands its next input to the app. False, and no slot is taken: there is none any more. */
  feed(): boolean {
    if (this.#state !== "waiting") return false
    const message = this.#peer.next()
    this.#state = message === null ? "idle" : "busy"
    if (message === null) return false
    this.#hasSlot = this.call.exclusive
    this.#parts.send({ type: "input", channel: this.id, ...message })
    return true
  }

  /** False: there was no input that this could be the answer to. */
  output(message: ChannelMessage): boolean {
    if (this.#state === "ending") return true
    if (this.#state !== "busy") return false
    this.#state = "idle"
    this.#peer.output(message)
    if (this.#endAfter !== null) this.end(this.#endAfter)
    return true
  }

  close(): void {
    if (this.#state === "ending") return
    this.#state = "ending"
    this.#parts.onSettled(this)
    this.#parts.send({ type: "close", channel: this.id })
  }

  /** Ends it from our side, at once. */
  end(end: ChannelEnd): void {
    if (this.#state === "ending") return
    this.close()
    this.#peer.ended(end)
  }

  /** Ends it when the input that is with the app has its answer. */
  endSoon(end: ChannelEnd): void {
    if (this.#state === "busy") this.#endAfter ??= end
    else this.end(end)
  }

  /** The runner, or its link, is done with it. */
  closed(end: ChannelEnd): void {
    if (this.#state === "ending") return
    this.#state = "ending"
    this.#parts.onSettled(this)
    this.#peer.ended(end)
  }
}
