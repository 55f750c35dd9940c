import type { Clock, Timer } from "../clock.ts"
import type { Timing } from "../config.ts"
import type { RunnerSession } from "./runner-session.ts"

export interface SessionClockParts {
  sessions(): Iterable<RunnerSession>
  /** Its runner is not heard from any more. */
  expire(session: RunnerSession): Promise<void>
  renew(ids: string[]): Promise<void>
  /** Called at every tick. */
  look(): void
  clock: Clock
}

const tickMaxMs = 1_000
const tickMinMs = 10

/**
 * Judges on the monotonic clock which sessions have expired, and never hastily: a tick that comes late means that
 * this process was stopped or starved, so nobody could have been heard; then every session gets a full `resumeMs`.
 */
export class SessionClock {
  readonly #timing: Timing
  readonly #parts: SessionClockParts
  readonly #clock: Clock
  readonly #tickMs: number
  #lastTick: number
  #lastRenewal: number
  #timer: Timer | null = null

  constructor(timing: Timing, parts: SessionClockParts) {
    this.#timing = timing
    this.#parts = parts
    this.#clock = parts.clock
    this.#lastTick = this.#lastRenewal = this.#clock.monotonic()
    const shortest = Math.min(timing.leaseMs, timing.renewEveryMs, timing.acceptMs)
    this.#tickMs = Math.max(tickMinMs, Math.min(tickMaxMs, shortest / 4))
  }

  start(): void {
    this.#lastTick = this.#clock.monotonic()
    this.#timer = this.#clock.setInterval(() => this.#tick(), this.#tickMs)
  }

  stop(): void {
    this.#clock.clear(this.#timer)
    this.#timer = null
  }

  leaseDeadline(): number {
    return this.#clock.monotonic() + this.#timing.leaseMs
  }

  resumeDeadline(): number {
    return this.#clock.monotonic() + this.#timing.resumeMs
  }

  /** A later deadline is kept: a late tick gives more than a frame does. */
  heardFrom(session: RunnerSession): void {
    session.deadline = Math.max(session.deadline, this.leaseDeadline())
  }

  #tick(): void {
    const now = this.#clock.monotonic()
    const gap = now - this.#lastTick
    this.#lastTick = now
    if (gap > this.#timing.leaseMs / 2) this.#forgive(gap)
    this.#pingAndRenew(now)
    this.#parts.look()
    // What lies unread in the sockets is read before anyone is judged.
    this.#clock.setImmediate(() => this.#clock.setImmediate(() => this.#judge()))
  }

  /** This process was deaf for so long: nobody else is to blame. */
  #forgive(gapMs: number): void {
    const deadline = this.resumeDeadline()
    for (const session of this.#parts.sessions()) {
      session.deadline = Math.max(session.deadline, deadline)
      for (const held of session.attempts.values()) {
        held.since += gapMs
        if (held.cancelledAt !== null) held.cancelledAt += gapMs
      }
    }
  }

  #judge(): void {
    // Stopped in between: the store may be closed.
    if (this.#timer === null) return
    const now = this.#clock.monotonic()
    for (const session of [...this.#parts.sessions()]) {
      this.#dropDeafLink(session, now)
      if (session.ending || (session.deadline > now && !this.#isStuck(session, now))) continue
      this.#parts.expire(session).catch(() => {
        // The store cannot write now. Its runner may come back meanwhile; else it is judged again.
        session.deadline = this.leaseDeadline()
      })
    }
  }

  /**
   * A runner ends by itself what takes too long, and answers pings meanwhile. One that does neither is blocked by an
   * app that never yields, or stopped: nothing in that process will end the attempt.
   */
  #isStuck(session: RunnerSession, now: number): boolean {
    const { leaseMs, renewEveryMs, acceptMs, graceMs } = this.#timing
    const silentMs = now + leaseMs - session.deadline
    if (session.link === null || silentMs < renewEveryMs + acceptMs) return false
    return session.overdue(graceMs).length > 0
  }

  /** A link that does not take an assign in time is as good as cut: the runner must dial again. */
  #dropDeafLink(session: RunnerSession, now: number): void {
    const deaf = [...session.attempts.values()].some(
      (held) => !held.accepted && now - held.since > this.#timing.acceptMs,
    )
    if (deaf) session.link?.close(1002, "assign not accepted in time")
  }

  #pingAndRenew(now: number): void {
    if (now - this.#lastRenewal < this.#timing.renewEveryMs) return
    this.#lastRenewal = now
    const live = [...this.#parts.sessions()].filter((session) => session.link !== null)
    for (const session of live) session.send({ type: "ping", at: this.#clock.now() })
    // A renewal that the store cannot take now is repeated at the next turn.
    if (live.length > 0) this.#parts.renew(live.map((session) => session.id)).catch(() => {})
  }
}
