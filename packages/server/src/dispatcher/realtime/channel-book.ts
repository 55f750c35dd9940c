import type { ClosedFrame, OutputFrame } from "@tintype/protocol"
import { shareSlots } from "../../domain/slot-share.ts"
import type {
  Channel,
  ChannelCall,
  ChannelEnd,
  ChannelPeer,
  ChannelRefusal,
  Channels,
} from "../../realtime.ts"
import type { RunnerSession } from "../runner-session.ts"
import { HeldChannel } from "./held-channel.ts"

export interface ChannelBookParts {
  sessions: ReadonlyMap<string, RunnerSession>
  /** Channels of one runner at a time. */
  perRunnerMax: number
  /** How long the app may work on one input, in milliseconds. */
  timeoutMs(app: string): number
  /** An input waits for a slot. */
  onInput(): void
  /** The runner has one channel less. */
  onClosed(session: RunnerSession): void
}

const lost: ChannelEnd = { code: 1011, reason: "The runner was lost: connect again" }

/**
 * The channels of every linked runner, and whose turn it is when slots are free. Invariants: a channel is in `open` of the
 * session on whose link it lives until the runner has said `closed` or the link is gone; an input is handed over
 * only when the slot for it is there, so what waits, waits with its caller.
 */
export class ChannelBook implements Channels {
  readonly #parts: ChannelBookParts
  readonly #hostWatchers = new Set<() => void>()
  #stopped = false

  constructor(parts: ChannelBookParts) {
    this.#parts = parts
  }

  open(call: ChannelCall, peer: ChannelPeer): Channel | ChannelRefusal {
    if (this.#stopped) return "stopping"
    const hosts = this.#hostsOf(call.app)
    if (hosts.length === 0) return "unhosted"
    const free = hosts.filter(({ channels }) => channels.open.size < this.#parts.perRunnerMax)
    const [session] = free.toSorted((a, b) => a.channels.open.size - b.channels.open.size)
    if (session === undefined) return "full"
    const { id: channel, ...named } = call
    const { open, waiting } = session.channels
    const held: HeldChannel = new HeldChannel(call, peer, {
      send: (frame) => session.send(frame),
      onWaiting: (one) => {
        waiting.add(one)
        this.#parts.onInput()
      },
      onSettled: (one) => waiting.delete(one),
    })
    open.set(channel, held)
    const timeoutMs = this.#parts.timeoutMs(call.app)
    session.send({ type: "open", channel, ...named, timeoutMs })
    return held
  }

  async untilHosted(app: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const look = () => {
      if (this.#stopped || signal.aborted || this.#hostsOf(app).length > 0) resolve()
    }
    this.#hostWatchers.add(look)
    signal.addEventListener("abort", look, { once: true })
    look()
    await promise
    this.#hostWatchers.delete(look)
    signal.removeEventListener("abort", look)
  }

  /** A runner has linked. */
  linked(): void {
    for (const look of this.#hostWatchers) look()
  }

  /** Gives free slots of the session to inputs that wait, as many as are theirs beside `requests` that could be claimed. */
  feed(session: RunnerSession, requests: number): void {
    const { channels, room } = session
    const { waiting, isInputsTurn } = channels
    if (waiting.size === 0) return
    const share = shareSlots({ room, inputs: waiting.size, requests, isInputsTurn })
    let left = share.inputs
    for (const channel of waiting) {
      if (left === 0) break
      waiting.delete(channel)
      if (!channel.feed()) continue
      session.credits -= 1
      left -= 1
    }
    channels.isInputsTurn = share.isInputsTurn
  }

  /** Answers why the frame is a protocol error, or null. One of a channel that has ended means nothing. */
  output(session: RunnerSession, { channel, form, data }: OutputFrame): string | null {
    const held = session.channels.open.get(channel)
    return held?.output({ form, data }) === false ? "output without an input" : null
  }

  closed(session: RunnerSession, { channel, code, reason }: ClosedFrame): void {
    const held = session.channels.open.get(channel)
    if (held === undefined) return
    session.channels.open.delete(channel)
    held.closed({ code, reason })
    this.#parts.onClosed(session)
  }

  /** The link of the session is gone. */
  lose(session: RunnerSession): void {
    for (const held of session.channels.open.values()) held.closed(lost)
    session.channels.open.clear()
  }

  /** Ends them one by one, each when the input that is with its app has its answer. */
  endSoon(session: RunnerSession, end: ChannelEnd): void {
    for (const held of session.channels.open.values()) held.endSoon(end)
  }

  /** No channel is opened any more. */
  stop(): void {
    this.#stopped = true
    this.linked()
  }

  endAll(end: ChannelEnd): void {
    for (const session of this.#parts.sessions.values()) {
      for (const held of session.channels.open.values()) held.end(end)
    }
  }

  #hostsOf(app: string): RunnerSession[] {
    return [...this.#parts.sessions.values()].filter(
      ({ link, ending, retiring, apps }) => link !== null && !ending && !retiring && apps.has(app),
    )
  }
}
