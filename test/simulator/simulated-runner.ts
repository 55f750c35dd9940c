import {
  type AssignFrame,
  type AttemptEvent,
  type DoneFrame,
  type FailedFrame,
  type FailureReason,
  type GatewayFrame,
  linkVersion,
  type WelcomeFrame,
} from "@tintype/protocol"
import type { Timer } from "../../packages/server/src/clock.ts"
import type { ProcessClock } from "./clock.ts"
import type { LinkPeer, SimulatedLink } from "./network.ts"
import type { Random } from "./random.ts"

export interface RunnerParts {
  clock: ProcessClock
  random: Random
  pid: number
  slots: number
  apps: string[]
  /** A socket to the server; null when nobody listens. */
  dial(runner: SimulatedRunner): SimulatedLink | null
  /** The gateway broke the link's protocol. */
  onWrong(what: string): void
  /** What an attempt had said when it got its outcome. */
  onOutcome(lease: string, events: number): void
  onSettled(lease: string, result: string): void
  /** Told to exit. */
  onExit(): void
}

interface Work {
  assign: AssignFrame
  state: "assigned" | "running" | "outcome" | "forgotten"
  nextSeq: number
  /** Said and not known to be stored. */
  events: AttemptEvent[]
  outcome: DoneFrame | FailedFrame | null
  cancelled: boolean
  /** The app has ended, so its slot is free. */
  end: () => void
}

const silenceMs = 5_000
const graceMs = 1_000
const redialMinMs = 50
const redialMaxMs = 1_000

/**
 * A runner process as docs/link.md describes it, with made-up work instead of apps: slots, credits, events and
 * outcomes that are kept and said again. It may be stopped, cut off or killed at any time by whoever holds its clock.
 */
export class SimulatedRunner implements LinkPeer {
  readonly clock: ProcessClock
  readonly pid: number
  readonly slots: number
  readonly apps: string[]
  readonly #parts: RunnerParts
  readonly #random: Random
  readonly #works = new Map<string, Work>()
  readonly #waiting: Work[] = []
  #session: string
  #running = 0
  #credits = 0
  #draining = false
  #link: SimulatedLink | null = null
  #linked = false
  #redialMs = redialMinMs
  #silence: Timer | null = null
  #orphan: Timer | null = null
  #orphanMs = 15_000

  constructor(parts: RunnerParts) {
    this.#parts = parts
    this.clock = parts.clock
    this.#random = parts.random
    this.pid = parts.pid
    this.slots = parts.slots
    this.apps = parts.apps
    this.#session = this.#random.hex(32)
  }

  get link(): SimulatedLink | null {
    return this.#link
  }

  /** Everything that it was given is settled or given up. */
  get isDone(): boolean {
    return this.#works.size === 0
  }

  /** It waits for work and can be given some, as far as it knows. */
  get isIdle(): boolean {
    return (
      this.#linked &&
      this.#link?.isWhole === true &&
      !this.#draining &&
      !this.clock.ended &&
      !this.clock.isStopped &&
      this.#credits > 0
    )
  }

  start(): void {
    this.#watchOrphan()
    this.#dial()
  }

  /** Its process is gone; the other end of its socket sees that. */
  kill(): void {
    this.#link?.drop()
    this.clock.end()
  }

  receive(link: SimulatedLink, frame: GatewayFrame): void {
    if (link !== this.#link) return
    this.#hear()
    if (frame.type === "welcome") return this.#welcome(frame)
    if (!this.#linked) return this.#refuse(`${frame.type} before welcome`)
    const work = "lease" in frame ? this.#works.get(frame.lease) : undefined
    switch (frame.type) {
      case "assign":
        return this.#assign(frame)
      case "stored":
        if (work !== undefined) work.events = work.events.filter(({ seq }) => seq > frame.seq)
        return
      case "settled":
        return this.#settled(frame.lease, frame.result)
      case "cancel":
        if (work !== undefined) this.#cancel(work)
        return
      case "drain":
        this.#draining = true
        return
      case "exit":
        this.#parts.onExit()
        return
      case "ping":
        return this.#say({ type: "pong", at: frame.at })
    }
  }

  lost(link: SimulatedLink, reason: string): void {
    if (link !== this.#link) return
    this.#link = null
    this.#linked = false
    this.clock.clear(this.#silence)
    if (reason === "expired") this.#giveUpAll()
    this.#watchOrphan()
    const waitMs = this.#redialMs * (0.5 + this.#random.next() / 2)
    this.#redialMs = Math.min(redialMaxMs, this.#redialMs * 2)
    this.clock.setTimeout(() => this.#dial(), waitMs)
  }

  #dial(): void {
    if (this.#link !== null) return
    const link = this.#parts.dial(this)
    this.#link = link
    if (link === null) {
      this.clock.setTimeout(() => this.#dial(), redialMaxMs * this.#random.next())
      return
    }
    this.#hear()
    const works = [...this.#works.values()]
    link.say({
      type: "hello",
      version: linkVersion,
      session: this.#session,
      runner: { pid: this.pid, startedAt: String(this.pid), build: "simulated" },
      slots: this.slots,
      apps: this.apps,
      held: works.map(({ assign: { lease, attempt }, nextSeq }) => ({ lease, attempt, nextSeq })),
      unacked: works.filter(({ outcome }) => outcome !== null).map(({ assign }) => assign.lease),
    })
  }

  /** The socket may be dead without a word. */
  #hear(): void {
    this.clock.clear(this.#silence)
    const link = this.#link
    if (link === null) return
    this.#silence = this.clock.setTimeout(() => {
      link.drop()
      this.lost(link, "silence")
    }, silenceMs)
  }

  #watchOrphan(): void {
    this.#orphan ??= this.clock.setTimeout(() => this.#giveUpAll(), this.#orphanMs)
  }

  #giveUpAll(): void {
    for (const lease of this.#works.keys()) this.#giveUp(lease)
    this.#session = this.#random.hex(32)
  }

  #say(frame: Parameters<SimulatedLink["say"]>[0]): void {
    if (this.#linked) this.#link?.say(frame)
  }

  #refuse(what: string): void {
    this.#parts.onWrong(what)
    const link = this.#link
    if (link === null) return
    link.drop()
    this.lost(link, what)
  }

  #welcome(frame: WelcomeFrame): void {
    if (this.#linked) return this.#refuse("a second welcome")
    this.#linked = true
    this.#orphanMs = frame.orphanMs
    this.#redialMs = redialMinMs
    this.clock.clear(this.#orphan)
    this.#orphan = null
    this.#credits = 0
    this.#draining = false
    for (const lease of frame.abandon) this.#giveUp(lease)
    for (const { lease, storedSeq } of frame.keep) {
      const work = this.#works.get(lease)
      if (work !== undefined) work.events = work.events.filter(({ seq }) => seq > storedSeq)
    }
    for (const work of this.#works.values()) this.#sayAgain(work)
    this.#grant()
  }

  #sayAgain({ assign: { lease }, state, events, outcome }: Work): void {
    if (state === "assigned") return
    this.#say({ type: "accepted", lease })
    for (const event of events) this.#say({ type: "event", lease, event })
    if (outcome !== null) this.#say(outcome)
  }

  #assign(frame: AssignFrame): void {
    if (this.#works.has(frame.lease)) return
    const work: Work = {
      assign: frame,
      state: "assigned",
      nextSeq: 1,
      events: [],
      outcome: null,
      cancelled: false,
      end: () => {},
    }
    if (this.#credits > 0) this.#credits -= 1
    else if (this.#waiting.length >= this.slots) return this.#refuse("an assign without a credit")
    this.#works.set(frame.lease, work)
    this.#waiting.push(work)
    this.#startWaiting()
  }

  #startWaiting(): void {
    while (this.#running < this.slots) {
      const work = this.#waiting.shift()
      if (work === undefined) return
      if (work.state === "assigned") this.#run(work)
    }
  }

  /** Made-up work: some events, then an end, or none before it is told to. */
  #run(work: Work): void {
    const { clock } = this
    const random = this.#random
    const { lease } = work.assign
    work.state = "running"
    this.#running += 1
    this.#say({ type: "accepted", lease })
    const isLong = random.chance(0.06)
    const workMs = isLong ? random.integer(3_000, 12_000) : random.integer(1, 900)
    const events = random.integer(0, 4)
    for (let index = 0; index < events; index += 1) {
      clock.setTimeout(() => this.#log(work), random.next() * workMs)
    }
    let hasEnded = false
    work.end = () => {
      if (hasEnded) return
      hasEnded = true
      this.#running -= 1
      this.#startWaiting()
      this.#grant()
    }
    clock.setTimeout(() => {
      this.#conclude(work, this.#answer(work))
      work.end()
    }, workMs)
  }

  #log(work: Work): void {
    if (work.state !== "running") return
    const { lease } = work.assign
    const seq = work.nextSeq
    work.nextSeq += 1
    const event: AttemptEvent = {
      seq,
      at: this.clock.now(),
      kind: "log",
      level: "INFO",
      message: `${lease} ${seq}`,
    }
    work.events.push(event)
    this.#say({ type: "event", lease, event })
  }

  #answer({ assign, cancelled }: Work): DoneFrame | FailedFrame {
    const { lease } = assign
    if (cancelled) return this.#failure(lease, "aborted")
    const kind = this.#random.weighted({
      success: 80,
      status: 12,
      exception: 4,
      incomplete: 4,
      timeout: 2,
    })
    if (kind === "exception") return this.#failure(lease, "exception")
    if (kind === "incomplete") return this.#failure(lease, "incomplete_response")
    if (kind === "timeout") return this.#failure(lease, "timed_out")
    const status = kind === "success" ? 200 : this.#random.pick([307, 400, 422, 500, 503, 504])
    const body = Buffer.from(JSON.stringify({ lease }))
    return { type: "done", lease, status, headers: {}, body, inferenceMs: 1 }
  }

  #failure(lease: string, reason: FailureReason): FailedFrame {
    return { type: "failed", lease, reason, detail: "simulated", inferenceMs: 1 }
  }

  /** The first outcome stays. */
  #conclude(work: Work, outcome: DoneFrame | FailedFrame): void {
    if (work.outcome !== null || work.state === "forgotten") return
    work.outcome = outcome
    work.state = "outcome"
    this.#parts.onOutcome(work.assign.lease, work.nextSeq - 1)
    this.#say(outcome)
  }

  #cancel(work: Work): void {
    if (work.outcome !== null || work.cancelled) return
    const { lease } = work.assign
    if (work.state === "assigned") return this.#conclude(work, this.#failure(lease, "aborted"))
    if (work.state !== "running") return
    // Some apps hear their signal, some only end in time, some are given up.
    if (this.#random.chance(0.7)) {
      work.cancelled = true
      const stop = () => {
        this.#conclude(work, this.#failure(lease, "aborted"))
        work.end()
      }
      this.clock.setTimeout(stop, this.#random.integer(0, 100))
    } else {
      this.clock.setTimeout(() => this.#conclude(work, this.#failure(lease, "aborted")), graceMs)
    }
  }

  #settled(lease: string, result: string): void {
    const work = this.#works.get(lease)
    if (work === undefined) return
    if (work.outcome === null) return this.#refuse("settled, and there was no outcome")
    this.#parts.onSettled(lease, result)
    this.#forget(lease)
    this.#grant()
  }

  /** Its lease is lost. A stubborn runner brings an outcome all the same, sooner or later. */
  #giveUp(lease: string): void {
    const work = this.#works.get(lease)
    if (work === undefined) return
    this.#forget(lease)
    if (!this.#random.chance(0.8)) return
    const outcome = work.outcome ?? this.#answer(work)
    this.clock.setTimeout(() => this.#say(outcome), this.#random.integer(0, 3_000))
  }

  #forget(lease: string): void {
    const work = this.#works.get(lease)
    if (work === undefined) return
    this.#works.delete(lease)
    const hadStarted = work.state === "running"
    work.state = "forgotten"
    const place = this.#waiting.indexOf(work)
    if (place !== -1) this.#waiting.splice(place, 1)
    if (hadStarted) this.clock.setTimeout(work.end, this.#random.integer(0, 100))
  }

  /** A credit for every slot that nothing runs in, waits for or was promised. */
  #grant(): void {
    if (!this.#linked || this.#draining) return
    const count = this.slots - this.#running - this.#waiting.length - this.#credits
    if (count <= 0) return
    this.#credits += count
    this.#say({ type: "credit", count })
  }
}
