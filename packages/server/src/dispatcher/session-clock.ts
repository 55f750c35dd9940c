import type { Timing } from "../config.ts"
import type { RunnerSession } from "./runner-session.ts"

export interface SessionClockParts {
  sessions(): Iterable<RunnerSession>
  expire(session: RunnerSession): Promise<void>
  renew(ids: string[]): Promise<void>
}

const tickMs = 1_000

/**
 * Judges on the monotonic clock which sessions have expired, and never hastily: a tick that comes late means that
 * this process was stopped or starved, so nobody could have been heard; then every session gets a full `resumeMs`.
 */
export class SessionClock {
  readonly #timing: Timing
  readonly #parts: SessionClockParts
  #lastTick = performance.now()
  #lastRenewal = performance.now()
  #timer: NodeJS.Timeout | null = null

  constructor(timing: Timing, parts: SessionClockParts) {
    this.#timing = timing
    this.#parts = parts
  }

  start(): void {
    this.#lastTick = performance.now()
    this.#timer = setInterval(() => this.#tick(), tickMs)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  leaseDeadline(): number {
    return performance.now() + this.#timing.leaseMs
  }

  resumeDeadline(): number {
    return performance.now() + this.#timing.resumeMs
  }

  heardFrom(session: RunnerSession): void {
    session.deadline = this.leaseDeadline()
  }

  #tick(): void {
    const now = performance.now()
    const gap = now - this.#lastTick
    this.#lastTick = now
    if (gap > this.#timing.leaseMs / 2) {
      const deadline = this.resumeDeadline()
      for (const session of this.#parts.sessions()) {
        session.deadline = Math.max(session.deadline, deadline)
      }
    }
    this.#dropDeafLinks(now)
    this.#pingAndRenew(now)
    // What lies unread in the sockets is read before anyone is judged.
    setImmediate(() => setImmediate(() => this.#expire()))
  }

  /** A link that does not take an assign in time is as good as cut: the runner must dial again. */
  #dropDeafLinks(now: number): void {
    for (const session of this.#parts.sessions()) {
      const deaf = [...session.attempts.values()].some(
        (held) => !held.accepted && now - held.assignedAt > this.#timing.acceptMs,
      )
      if (deaf) session.link?.close(1002, "assign not accepted in time")
    }
  }

  #pingAndRenew(now: number): void {
    if (now - this.#lastRenewal < this.#timing.renewEveryMs) return
    this.#lastRenewal = now
    const live = [...this.#parts.sessions()].filter((session) => session.link !== null)
    for (const session of live) session.send({ type: "ping", at: Date.now() })
    // A renewal that the store cannot take now is repeated five seconds later.
    if (live.length > 0) this.#parts.renew(live.map((session) => session.id)).catch(() => {})
  }

  #expire(): void {
    const now = performance.now()
    for (const session of [...this.#parts.sessions()]) {
      if (session.deadline > now) continue
      this.#parts.expire(session).catch(() => {
        session.deadline = this.leaseDeadline()
      })
    }
  }
}
