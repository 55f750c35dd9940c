import type { Clock } from "../clock.ts"
import type { Timing } from "../config.ts"
import type { ChannelEnd } from "../realtime.ts"
import type { Store } from "../store.ts"
import type { RunnerSession } from "./runner-session.ts"

export interface RetirementParts {
  store: Pick<Store, "endAttempts">
  timing: Pick<Timing, "retireMs" | "stopRunnerEveryMs">
  clock: Clock
  sessions: ReadonlyMap<string, RunnerSession>
  /** Ends the session's channels, each when its app has answered. */
  endChannels(session: RunnerSession, end: ChannelEnd): void
  log: (entry: Record<string, unknown>) => void
}

export const goingAway: ChannelEnd = { code: 1001, reason: "The server stops: connect again" }
const replaced: ChannelEnd = { code: 1013, reason: "The runner is being replaced: connect again" }

/**
 * How runners are sent home: all of them when the server stops, one of them when it has to be replaced.
 *
 *     live ──drain──▶ draining ──last attempt settled, or time is over──▶ exit
 *
 * A runner that drains gets no new attempt and no new input. What is left when the time is over did not fail: it goes back to the queue,
 * uncounted, before its runner is told to exit. A local runner that exits is started anew by its supervisor. When the server
 * stops, a runner of another machine is not sent home: it goes on, and the next life of the server takes its session over.
 */
export class Retirement {
  readonly #parts: RetirementParts
  #lastStop = Number.NEGATIVE_INFINITY
  /** Called by what may have been the last attempt, while a drain waits. */
  #onIdle: (() => void) | null = null

  constructor(parts: RetirementParts) {
    this.#parts = parts
  }

  /** Resolves when every attempt has ended, `deadlineMs` has passed or the signal aborts, and the local ones were told to exit. */
  async drain(deadlineMs: number, signal: AbortSignal): Promise<void> {
    for (const session of this.#parts.sessions.values()) {
      session.send({ type: "drain", deadlineMs })
      this.#parts.endChannels(session, goingAway)
    }
    await this.#untilIdle(deadlineMs, signal)
    for (const session of [...this.#parts.sessions.values()]) {
      if (session.isLocal) await this.#dismiss(session)
    }
  }

  /** An app's answer asked for another runner. Heeded so seldom that an app which always asks cannot stop the others. */
  stopRunner(session: RunnerSession, why: string): void {
    const now = this.#parts.clock.monotonic()
    if (session.retiring || now - this.#lastStop < this.#parts.timing.stopRunnerEveryMs) return
    this.#lastStop = now
    this.retire(session, why)
  }

  /** This runner takes no more work, finishes what it has within `retireMs`, and exits. */
  retire(session: RunnerSession, why: string): void {
    if (session.retiring) return
    const { clock, timing, log, sessions } = this.#parts
    session.retiring = true
    log({ event: "runner_retired", pid: session.runner.pid, why })
    session.send({ type: "drain", deadlineMs: timing.retireMs })
    this.#parts.endChannels(session, replaced)
    clock
      .setTimeout(() => {
        const current = sessions.get(session.id)
        if (current !== undefined) void this.#dismiss(current)
      }, timing.retireMs)
      .unref()
    this.tell(session)
  }

  /** It has a new link, and may have missed what it was told. */
  resume(session: RunnerSession): void {
    session.send({ type: "drain", deadlineMs: this.#parts.timing.retireMs })
    this.tell(session)
  }

  /** One attempt, claim or channel of the session less. */
  tell(session: RunnerSession): void {
    if (session.retiring && isIdle(session)) session.send({ type: "exit" })
    if (this.#onIdle !== null && this.#areIdle()) this.#onIdle()
  }

  async #dismiss(session: RunnerSession): Promise<void> {
    try {
      await this.#parts.store.endAttempts(session.id, "stopped")
    } catch (error) {
      // A full disk must not keep the process from ending; the next one finds these attempts lost.
      this.#parts.log({ event: "put_back_failed", error: String(error) })
    }
    for (const lease of session.attempts.keys()) session.cancel(lease, "server_stopping")
    session.send({ type: "exit" })
  }

  #areIdle(): boolean {
    return [...this.#parts.sessions.values()].every(isIdle)
  }

  async #untilIdle(deadlineMs: number, signal: AbortSignal): Promise<void> {
    if (this.#areIdle() || signal.aborted) return
    const { clock } = this.#parts
    const { promise, resolve } = Promise.withResolvers<void>()
    const giveUp = () => resolve()
    this.#onIdle = giveUp
    const timer = clock.setTimeout(giveUp, deadlineMs)
    signal.addEventListener("abort", giveUp, { once: true })
    await promise
    this.#onIdle = null
    clock.clear(timer)
    signal.removeEventListener("abort", giveUp)
  }
}

function isIdle({ attempts, claiming, channels }: RunnerSession): boolean {
  return attempts.size === 0 && claiming === 0 && channels.open.size === 0
}
