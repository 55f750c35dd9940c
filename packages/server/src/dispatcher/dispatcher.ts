import type { CancelReason, HelloFrame, RunnerFrame } from "@tintype/protocol"
import type { BlobStore } from "../blob.ts"
import type { Limits, Timing } from "../config.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { Hints } from "../hints.ts"
import type { Claim, SessionHello, Store } from "../store.ts"
import { Backlog } from "./backlog.ts"
import { concludeLease, type Conclusion } from "./conclusion.ts"
import { EventBook } from "./event-book.ts"
import { RunnerSession, type RunnerLink } from "./runner-session.ts"
import { SessionClock } from "./session-clock.ts"
import { StartupWatch } from "./startup-watch.ts"

export interface DispatcherParts {
  store: Store
  blobs: BlobStore
  hints: Hints
  timing: Timing
  limits: Limits
  /** 128 random bits, hex. */
  newLease(): string
  /** A runner process has linked. */
  onRunner(pid: number): void
  log(entry: Record<string, unknown>): void
}

/**
 * Brings queued requests to runners and their outcomes to the store: claim → assign → conclude. It owns the
 * sessions and their credits. Invariant: a lease is in `attempts` of exactly one session from the commit of its claim until
 * its outcome is committed or the session ends.
 */
export class Dispatcher {
  /** What the running attempts say. */
  readonly events: EventBook
  readonly #parts: DispatcherParts
  readonly #sessions = new Map<string, RunnerSession>()
  readonly #backlog = new Backlog()
  readonly #clock: SessionClock
  readonly #startups: StartupWatch
  readonly #idleListeners = new Set<() => void>()
  #draining = false
  #closed = false

  constructor(parts: DispatcherParts) {
    this.#parts = parts
    this.events = new EventBook({
      store: parts.store,
      flushEveryMs: parts.timing.eventFlushMs,
      onStored: (lease, seq) => this.holderOf(lease)?.send({ type: "stored", lease, seq }),
    })
    this.#clock = new SessionClock(parts.timing, {
      sessions: () => this.#sessions.values(),
      expire: (session) => this.endSession(session.id, "its runner was not heard from"),
      renew: (ids) => parts.store.renewSessions(ids),
    })
    this.#startups = new StartupWatch({
      timeoutMs: parts.timing.startupTimeoutMs,
      isHosted: (app) => this.isHosted(app),
      fail: (id) => parts.store.failQueued(id, "runner_scheduling_failure"),
    })
    parts.hints.onWork((app) => this.#onWork(app))
    parts.hints.onCancel((requestId, reason) => this.#onCancel(requestId, reason))
  }

  /** Takes over what an earlier life of the server left: its sessions, detached, and its queues. */
  async start(): Promise<void> {
    const { store } = this.#parts
    for (const row of await store.sessions()) {
      const identity = { id: row.session, runner: row.runner, apps: row.apps }
      this.#sessions.set(row.session, new RunnerSession(identity, this.#clock.resumeDeadline()))
    }
    for (const app of await store.appsWithWork()) {
      this.#backlog.add(app, await store.queueLength(app))
    }
    this.#clock.start()
    this.#startups.start()
  }

  /** The store's committed changes, after the snapshots have them. */
  commit(changed: RequestRecord[]): void {
    for (const record of changed) {
      this.#startups.observe(record)
      // A new request was hinted by its door; one that comes back is hinted here.
      if (record.state === "queued" && record.attempts > 0) this.#onWork(record.app)
    }
  }

  isHosted(app: string): boolean {
    for (const session of this.#sessions.values()) {
      if (session.link !== null && session.apps.has(app)) return true
    }
    return false
  }

  /** The session that holds a lease, for a transfer. */
  holderOf(lease: string): RunnerSession | null {
    for (const session of this.#sessions.values()) if (session.attempts.has(lease)) return session
    return null
  }

  /** A runner's first frame: resumes or creates its session and says what becomes of its attempts. Null: it is over. */
  async hello(frame: HelloFrame, link: RunnerLink): Promise<RunnerSession | null> {
    const { store, timing } = this.#parts
    const hello: SessionHello = {
      session: frame.session,
      runner: frame.runner,
      apps: frame.apps,
      held: frame.held,
      unacked: frame.unacked,
    }
    const resumption = await store.openSession(hello)
    if (resumption.expired) return this.#refuseExpired(link, resumption.abandon)
    const known = this.#sessions.get(frame.session)
    known?.link?.close(1000, "replaced")
    const identity = { id: frame.session, runner: frame.runner, apps: frame.apps }
    const session = new RunnerSession(identity, this.#clock.leaseDeadline())
    session.link = link
    session.slots = frame.slots
    this.#sessions.set(session.id, session)
    link.send({
      type: "welcome",
      keep: resumption.keep.map(({ lease, storedSeq }) => ({ lease, storedSeq })),
      abandon: resumption.abandon,
      orphanMs: timing.orphanMs,
    })
    for (const kept of resumption.keep) {
      const record = await store.leaseHolder(kept.lease)
      if (record === null) continue
      session.attempts.set(kept.lease, {
        requestId: record.id,
        accepted: true,
        transferred: known?.attempts.get(kept.lease)?.transferred ?? null,
        concluding: false,
        assignedAt: performance.now(),
      })
      this.events.open(kept.lease, record.id, record.attempts, kept.storedSeq)
      if (kept.cancelRequested) session.cancel(kept.lease, "client_cancelled")
    }
    for (const claim of resumption.reassign) this.#assign(session, claim)
    if (this.#draining) session.send({ type: "drain", deadlineMs: timing.drainMs })
    this.#parts.log({ event: "runner_connected", pid: frame.runner.pid, apps: frame.apps.length })
    this.#parts.onRunner(frame.runner.pid)
    return session
  }

  /** A session that ended stays ended: its runner gives everything up and dials again as a new one. */
  #refuseExpired(link: RunnerLink, abandon: string[]): null {
    link.send({ type: "welcome", keep: [], abandon, orphanMs: this.#parts.timing.orphanMs })
    link.close(1000, "expired")
    return null
  }

  /** A frame of a live session. Returns why it is a protocol error, or null. */
  frame(session: RunnerSession, frame: Exclude<RunnerFrame, HelloFrame>): string | null {
    this.#clock.heardFrom(session)
    switch (frame.type) {
      case "pong":
        return null
      case "credit":
        return this.#credit(session, frame.count)
      case "accepted": {
        const held = session.attempts.get(frame.lease)
        if (held !== undefined) held.accepted = true
        return null
      }
      case "event": {
        const held = session.attempts.get(frame.lease)
        if (held === undefined) return null
        if (!held.accepted) return "event before accepted"
        this.events.add(frame.lease, frame.event)
        return null
      }
      case "done":
      case "failed":
        this.#conclude(session, { frame, lease: frame.lease })
        return null
    }
  }

  /** The link of a session is gone; the session lives on until its deadline. */
  detach(session: RunnerSession, link: RunnerLink): void {
    if (session.link !== link) return
    session.link = null
    session.credits = 0
    session.deadline = this.#clock.leaseDeadline()
    this.#parts.log({ event: "runner_disconnected", pid: session.runner.pid })
  }

  /** Ends a session for good: its attempts are lost, and may go elsewhere. */
  async endSession(id: string, why: string): Promise<void> {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    this.#sessions.delete(id)
    session.link?.close(1000, "expired")
    const ended = await this.#parts.store.endAttempts(id, "lost")
    for (const lease of session.attempts.keys()) this.events.close(lease)
    this.#parts.log({ event: "session_ended", pid: session.runner.pid, attempts: ended, why })
  }

  /** Ends the sessions of runner processes that are known to be gone. */
  async endSessionsWhere(isGone: (pid: number) => boolean): Promise<void> {
    for (const session of [...this.#sessions.values()]) {
      if (isGone(session.runner.pid)) await this.endSession(session.id, "its process is gone")
    }
  }

  /** No more claims; resolves when every attempt has ended, `deadlineMs` has passed or the signal aborts. */
  async drain(deadlineMs: number, signal: AbortSignal): Promise<void> {
    this.#draining = true
    for (const session of this.#sessions.values()) session.send({ type: "drain", deadlineMs })
    await this.#untilIdle(deadlineMs, signal)
    for (const session of [...this.#sessions.values()]) {
      // What is left did not fail: it is put back, uncounted, before its runner is told to stop.
      await this.#parts.store.endAttempts(session.id, "stopped")
      for (const lease of session.attempts.keys()) session.cancel(lease, "server_stopping")
      session.send({ type: "exit" })
    }
  }

  close(): void {
    this.#closed = true
    this.#clock.stop()
    this.#startups.stop()
    for (const session of this.#sessions.values()) session.link?.close(1001, "going away")
  }

  #onWork(app: string): void {
    this.#backlog.add(app)
    this.#pump()
  }

  #onCancel(requestId: string, reason: CancelReason): void {
    for (const session of this.#sessions.values()) {
      for (const [lease, held] of session.attempts) {
        if (held.requestId === requestId) session.cancel(lease, reason)
      }
    }
  }

  #credit(session: RunnerSession, count: number): string | null {
    if (session.credits + count > session.slots) return "more credits than slots"
    session.credits += count
    this.#pump()
    return null
  }

  #pump(): void {
    if (this.#draining || this.#closed) return
    for (const session of this.#sessions.values()) {
      if (session.link === null || session.credits === 0) continue
      const apps = this.#backlog.among(session.apps)
      const count = Math.min(session.credits, this.#backlog.sum(apps))
      if (count > 0) this.#claim(session, apps, count)
    }
  }

  #claim(session: RunnerSession, apps: string[], count: number): void {
    const { store, newLease, log } = this.#parts
    const leases = Array.from({ length: count }, newLease)
    const { link } = session
    const finish = this.#backlog.claiming(apps, count)
    session.credits -= count
    store.claim({ session: session.id, apps, leases }).then(
      (claims) => {
        finish(claims.map((claim) => claim.request.app))
        // The session may have a new link by now, or be gone: then its attempts were already put back.
        const current = this.#sessions.get(session.id)
        if (current !== undefined) for (const claim of claims) this.#assign(current, claim)
        // Credits belong to a link: those of one that is gone are granted anew by the next.
        if (session.link === link) session.credits += count - claims.length
        if (claims.length < count) this.#pump()
      },
      (error: unknown) => {
        finish([])
        if (session.link === link) session.credits += count
        log({ event: "claim_failed", error: String(error) })
        for (const app of apps) this.#backlog.add(app)
        setTimeout(() => this.#pump(), retryAfterMs).unref()
      },
    )
  }

  #assign(session: RunnerSession, claim: Claim): void {
    const attempt = claim.request.attempt!
    this.events.open(attempt.lease, claim.request.id, attempt.number, 0)
    session.assign(claim, this.#parts.limits.logBytesMax)
  }

  #conclude(session: RunnerSession, conclusion: Conclusion): void {
    const held = session.attempts.get(conclusion.lease)
    if (held?.concluding === true) return
    if (held !== undefined) held.concluding = true
    concludeLease({ ...this.#parts, events: this.events }, session, conclusion).then(
      (result) => {
        session.attempts.delete(conclusion.lease)
        this.events.close(conclusion.lease)
        this.#sessions.get(session.id)?.attempts.delete(conclusion.lease)
        this.#sessions.get(session.id)?.send({ type: "settled", lease: conclusion.lease, result })
        if (session.attempts.size === 0) for (const listener of this.#idleListeners) listener()
      },
      (error: unknown) => {
        // A full disk, most likely: the runner keeps the outcome, and so it is asked for again.
        if (held !== undefined) held.concluding = false
        this.#parts.log({ event: "settle_failed", error: String(error) })
        if (!this.#closed) setTimeout(() => this.#conclude(session, conclusion), retryAfterMs).unref()
      },
    )
  }

  async #untilIdle(deadlineMs: number, signal: AbortSignal): Promise<void> {
    const busy = () => [...this.#sessions.values()].some((session) => session.attempts.size > 0)
    if (!busy() || signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const check = () => {
      if (!busy()) resolve()
    }
    const timer = setTimeout(resolve, deadlineMs)
    signal.addEventListener("abort", () => resolve(), { once: true })
    this.#idleListeners.add(check)
    await promise
    this.#idleListeners.delete(check)
    clearTimeout(timer)
  }
}

/** After a write that the store refused. */
const retryAfterMs = 500
