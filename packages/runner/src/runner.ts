import { randomBytes } from "node:crypto"
import type { Agent } from "node:http"
import {
  type AssignFrame,
  type GatewayFrame,
  type HelloFrame,
  type WelcomeFrame,
  LinkProtocolError,
  linkVersion,
} from "@tintype/protocol"
import type { HostedApp } from "./attempt/app-host.ts"
import { Attempt } from "./attempt/attempt.ts"
import { type RunnerTiming, runnerLimits, runnerTiming } from "./limits.ts"
import { createAgent, type DialTarget } from "./link/dial.ts"
import { LinkClient } from "./link/link-client.ts"
import { createRunContext } from "./attempt/run-context.ts"
import { Transfer } from "./link/transfer.ts"
import { createChannelContext } from "./realtime/channel-context.ts"
import { Channels } from "./realtime/channels.ts"

/**
 * Why a runner ended: told to, drained after `drain`, without a gateway for too long, its only link is gone, or the
 * gateway would not have it.
 */
export type RunnerEnd = "exit" | "drained" | "orphaned" | "link_lost" | "refused"

export interface RunnerOptions {
  target: DialTarget
  /** Attempts at a time. */
  slots: number
  apps: readonly HostedApp[]
  identity: HelloFrame["runner"]
  /** Apps may fetch media from private addresses. */
  allowPrivateTargets: boolean
  /** Origins under which the gateway's `/files/` are called, beside the one of each request's file base. */
  ownOrigins?: readonly string[]
  /** `resume`: go on without the link and dial again. `exit`: end with the link. */
  linkLoss?: "resume" | "exit"
  /** After `orphanMs` without a link, with everything given up: end, or go on dialling. */
  orphaned?: "end" | "dial"
  /** Refused before it ever had a link: end, or go on dialling. */
  refused?: "end" | "dial"
  timing?: Partial<RunnerTiming>
  /** A link was opened. */
  onLinked?(): void
  /** In [0, 1). */
  random?: () => number
  randomBytes?: (count: number) => Buffer
  /** Epoch milliseconds. */
  now?: () => number
  /** For the runner's own log. */
  note?(message: string): void
}

/**
 * Executes what the gateway assigns, `slots` at a time, and keeps every attempt until its outcome is settled.
 *
 * It owns the session and its attempts. Invariants: credits that the gateway has, attempts that run and
 * attempts that wait are together at most `slots`, unless the gateway assigns without a credit (then they wait for a
 * slot); an attempt is in `#attempts` until it is settled or given up; a slot is free only when its app has ended.
 */
export class Runner {
  /** Resolves when the runner has ended; its link is closed by then. Apps that ignore their signal may still run. */
  readonly ended: Promise<RunnerEnd>
  readonly #options: RunnerOptions
  readonly #timing: RunnerTiming
  readonly #apps: ReadonlyMap<string, HostedApp>
  readonly #link: LinkClient
  readonly #agent: Agent
  readonly #random: () => number
  readonly #randomBytes: (count: number) => Buffer
  readonly #attempts = new Map<string, Attempt>()
  readonly #waiting: Attempt[] = []
  readonly #channels: Channels
  #session: string
  #running = 0
  /** Granted on this link and not yet spent. */
  #credits = 0
  /** The gateway said `drain` on this link. */
  #draining = false
  #terminating: NodeJS.Timeout | null = null
  /** Why this runner must be replaced; the gateway tells it to exit when its other attempts have ended. */
  #retiring: string | null = null
  #resolveEnded!: (end: RunnerEnd) => void
  #isEnding = false
  #wasLinked = false

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#timing = { ...runnerTiming, ...options.timing }
    this.#apps = new Map(options.apps.map((app) => [app.id, app]))
    this.#random = options.random ?? Math.random
    this.#randomBytes = options.randomBytes ?? randomBytes
    this.#agent = createAgent(options.target)
    this.#channels = this.#makeChannels()
    this.#session = this.#newSession()
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve))
    this.#link = new LinkClient({
      target: options.target,
      timing: this.#timing,
      random: this.#random,
      hello: () => this.#hello(),
      onWelcome: (frame) => this.#onWelcome(frame),
      onFrame: (frame) => this.#onFrame(frame),
      onLost: (reason) => this.#onLost(reason),
      onRefused: (reason) => this.#onRefused(reason),
      onOrphaned: () => this.#onOrphaned(),
      note: (message) => this.#note(message),
    })
  }

  start(): void {
    this.#link.start()
  }

  /**
   * Takes no more than it has been assigned, and ends when all of it is settled, at the latest after `drainMs`. The gateway
   * is asked to assign no more: ending before it has heard so would lose what is on its way.
   */
  drain(): void {
    if (this.#terminating !== null || this.#isEnding) return
    this.#terminating = setTimeout(() => void this.#end("drained"), this.#timing.drainMs)
    if (this.#link.linked) this.#retire("it was told to stop")
    this.#checkDrained()
  }

  #makeChannels(): Channels {
    const { ownOrigins = [], allowPrivateTargets, target } = this.#options
    const origins = "url" in target ? [target.url, ...ownOrigins] : ownOrigins
    return new Channels({
      apps: this.#apps,
      timing: this.#timing,
      send: (frame) => this.#link.send(frame),
      takeSlot: () => {
        if (this.#credits === 0) throw new LinkProtocolError("input: without a credit")
        this.#credits -= 1
        this.#running += 1
      },
      freeSlot: () => this.#freeSlot(),
      onStuck: (app) => this.#retire(`${app} did not stop when it was told to`),
      createContext: (open, signal) =>
        createChannelContext(open, signal, { ownOrigins: origins, allowPrivateTargets }),
    })
  }

  #newSession(): string {
    return this.#randomBytes(16).toString("hex")
  }

  #hello(): HelloFrame {
    const attempts = [...this.#attempts.values()]
    return {
      type: "hello",
      version: linkVersion,
      session: this.#session,
      runner: this.#options.identity,
      slots: this.#options.slots,
      apps: [...this.#apps.keys()],
      held: attempts.map((attempt) => attempt.held),
      unacked: attempts.filter(({ outcome }) => outcome !== null).map(({ lease }) => lease),
    }
  }

  #onWelcome(frame: WelcomeFrame): void {
    this.#credits = 0
    this.#draining = false
    this.#wasLinked = true
    this.#options.onLinked?.()
    for (const lease of frame.abandon) this.#forget(lease)
    for (const { lease, storedSeq } of frame.keep) {
      this.#attempts.get(lease)?.events.stored(storedSeq)
    }
    for (const attempt of this.#attempts.values()) this.#sayAgain(attempt)
    const held = this.#attempts.size
    const going = held === 1 ? "1 attempt goes on" : `${held} attempts go on`
    this.#note(`Linked; ${going}, ${frame.abandon.length} given up.`)
    if (this.#retiring !== null) this.#link.send({ type: "retire", why: this.#retiring })
    this.#grant()
  }

  /** All that the gateway may not have of an attempt, in the order in which it was said. */
  #sayAgain(attempt: Attempt): void {
    const { lease } = attempt
    if (attempt.state === "assigned") return
    this.#link.send({ type: "accepted", lease })
    for (const event of attempt.events.unstored) this.#link.send({ type: "event", lease, event })
    for (const chunk of attempt.chunks.untaken) this.#link.send({ type: "chunk", lease, ...chunk })
    if (attempt.outcome !== null) this.#sendOutcome(attempt)
  }

  #sendOutcome(attempt: Attempt): void {
    if (this.#link.linked) void attempt.deliver((frame) => this.#link.send(frame))
  }

  #onFrame(frame: Exclude<GatewayFrame, WelcomeFrame>): void {
    switch (frame.type) {
      case "assign":
        return this.#assign(frame)
      case "stored":
        return this.#attempts.get(frame.lease)?.events.stored(frame.seq)
      case "taken":
        return this.#attempts.get(frame.lease)?.chunks.taken(frame.seq)
      case "settled":
        return this.#settled(frame.lease)
      case "cancel":
        return this.#attempts.get(frame.lease)?.cancel(frame.reason)
      case "open":
        return this.#channels.open(frame)
      case "input":
        return this.#channels.input(frame)
      case "close":
        return this.#channels.close(frame)
      case "drain":
        this.#draining = true
        return this.#checkDrained()
      case "exit":
        void this.#end("exit")
        return
      case "ping":
        return
    }
  }

  #assign(frame: AssignFrame): void {
    if (this.#attempts.has(frame.lease)) return
    const attempt: Attempt = new Attempt(frame, {
      timing: this.#timing,
      now: this.#options.now ?? Date.now,
      sendEvent: (event) => this.#link.send({ type: "event", lease: frame.lease, event }),
      sendChunk: (chunk) => this.#link.send({ type: "chunk", lease: frame.lease, ...chunk }),
      onOutcome: () => this.#onOutcome(attempt),
      onStuck: () => this.#retire(`${frame.app} did not stop when it was told to`),
      createTransfer: (options) =>
        new Transfer({
          ...options,
          target: this.#options.target,
          agent: this.#agent,
          timing: this.#timing,
          random: this.#random,
          orphanMs: () => this.#link.orphanMs,
        }),
      createContext: (of) =>
        createRunContext(of, {
          ownOrigins: this.#options.ownOrigins ?? [],
          allowPrivateTargets: this.#options.allowPrivateTargets,
          randomBytes: this.#randomBytes,
        }),
    })
    if (this.#credits > 0) this.#credits -= 1
    else if (this.#waiting.length >= this.#options.slots) {
      throw new LinkProtocolError("assign: without a credit")
    }
    this.#attempts.set(frame.lease, attempt)
    this.#waiting.push(attempt)
    this.#startWaiting()
  }

  #startWaiting(): void {
    while (this.#running < this.#options.slots) {
      const attempt = this.#waiting.shift()
      if (attempt === undefined) return
      if (attempt.state === "assigned") void this.#execute(attempt)
    }
  }

  async #execute(attempt: Attempt): Promise<void> {
    this.#running += 1
    this.#link.send({ type: "accepted", lease: attempt.lease })
    await attempt.run(this.#apps.get(attempt.assign.app))
    this.#freeSlot()
  }

  #freeSlot(): void {
    this.#running -= 1
    this.#startWaiting()
    this.#grant()
    this.#checkDrained()
  }

  #onOutcome(attempt: Attempt): void {
    this.#sendOutcome(attempt)
  }

  /** Nothing but the end of this process ends such an app. */
  #retire(why: string): void {
    if (this.#retiring !== null || this.#isEnding) return
    this.#retiring = why
    this.#note(`${why}: this runner takes no more attempts.`)
    this.#link.send({ type: "retire", why })
  }

  #settled(lease: string): void {
    const attempt = this.#attempts.get(lease)
    if (attempt === undefined) return
    if (attempt.outcome === null) throw new LinkProtocolError("settled: there was no outcome")
    this.#forget(lease)
    this.#grant()
    this.#checkDrained()
  }

  #forget(lease: string): void {
    const attempt = this.#attempts.get(lease)
    if (attempt === undefined) return
    this.#attempts.delete(lease)
    attempt.forget()
    const place = this.#waiting.indexOf(attempt)
    if (place !== -1) this.#waiting.splice(place, 1)
  }

  /** Gives the gateway a credit for every slot that nothing runs in, waits for or was promised. */
  #grant(): void {
    if (!this.#link.linked || this.#draining || this.#terminating !== null) return
    if (this.#retiring !== null) return
    if (this.#isUnsettledFull()) return
    const count = this.#options.slots - this.#running - this.#waiting.length - this.#credits
    if (count <= 0) return
    this.#credits += count
    this.#link.send({ type: "credit", count })
  }

  /** Outcomes that wait for the gateway take memory; a gateway that settles none gets no credits. */
  #isUnsettledFull(): boolean {
    let bytes = 0
    let count = 0
    for (const { outcome, chunks } of this.#attempts.values()) {
      if (outcome === null) continue
      bytes += chunks.bytes
      const inline = outcome.frame.type === "done" ? outcome.frame.body : null
      bytes += (outcome.body ?? inline)?.byteLength ?? 0
      count += 1
    }
    return bytes > runnerLimits.unsettledBytesMax || count > runnerLimits.unsettledMax
  }

  #onLost(reason: string): void {
    this.#channels.endAll()
    this.#note(`The link is lost${reason === "" ? "" : `: ${reason}`}.`)
    if (this.#options.linkLoss === "exit") void this.#end("link_lost")
    // The gateway ended this session for good; under its id there would never be work again.
    else if (reason === "expired" || reason === "key revoked") this.#giveUpAll()
    this.#checkDrained()
  }

  #onRefused(reason: string): void {
    this.#note(`The server refuses this runner: ${reason}`)
    if (this.#options.refused === "end" && !this.#wasLinked) void this.#end("refused")
  }

  #onOrphaned(): void {
    this.#note("There was no link for too long: everything is given up.")
    this.#giveUpAll()
    if (this.#options.linkLoss === "exit") void this.#end("link_lost")
    else if (this.#options.orphaned !== "dial") void this.#end("orphaned")
  }

  #giveUpAll(): void {
    for (const lease of this.#attempts.keys()) this.#forget(lease)
    this.#session = this.#newSession()
    this.#checkDrained()
  }

  #checkDrained(): void {
    if (this.#terminating === null || this.#running > 0 || this.#attempts.size > 0) return
    // An assign may be on its way until the gateway has said `drain`.
    if (this.#link.linked && !this.#draining) return
    void this.#end("drained")
  }

  async #end(end: RunnerEnd): Promise<void> {
    if (this.#isEnding) return
    this.#isEnding = true
    if (this.#terminating !== null) clearTimeout(this.#terminating)
    for (const lease of this.#attempts.keys()) this.#forget(lease)
    this.#channels.endAll()
    await this.#link.close()
    this.#agent.destroy()
    this.#resolveEnded(end)
  }

  #note(message: string): void {
    this.#options.note?.(message)
  }
}
