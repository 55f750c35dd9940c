import type { CancelReason, HelloFrame, RunnerFrame } from "@tintype/protocol"
import { type Clock, systemClock } from "../clock.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { AppRow, Claim, SessionResumption } from "../store.ts"
import { Claimer, retryAfterMs } from "./claimer.ts"
import { concludeLease, type Conclusion, endsRunner, settleOverdue } from "./conclusion.ts"
import type { DispatcherParts } from "./dispatcher-parts.ts"
import { DueWatch } from "./due-watch.ts"
import type { EventBook } from "./event-book.ts"
import type { ChunkRelay } from "./relay/chunk-relay.ts"
import { Hearing } from "./relay/hearing.ts"
import { ChannelBook } from "./realtime/channel-book.ts"
import { goingAway, Retirement } from "./retirement.ts"
import { RunnerSession, type RunnerLink } from "./runner-session.ts"
import { SessionClock } from "./session-clock.ts"
import { StartupWatch } from "./startup-watch.ts"

/**
 * Brings queued requests to runners and their outcomes to the store: claim → assign → conclude. It owns the
 * sessions and their credits. Invariant: a lease is in `attempts` of exactly one session from the commit of its claim until
 * its outcome is committed or the session ends.
 */
export class Dispatcher {
  /** What the running attempts say. */
  readonly events: EventBook
  /** What they stream. */
  readonly relay: ChunkRelay
  readonly #hearing: Hearing
  /** Callers' realtime connections. */
  readonly channels: ChannelBook
  readonly #parts: DispatcherParts
  readonly #sessions = new Map<string, RunnerSession>()
  readonly #clock: SessionClock
  readonly #time: Clock
  readonly #startups: StartupWatch
  readonly #due: DueWatch
  readonly #retirement: Retirement
  readonly #claimer: Claimer
  /** What the apps say of their own times. */
  readonly #timeouts = new Map<string, NonNullable<AppRow["timeouts"]>>()
  #draining = false
  #closed = false

  constructor(parts: DispatcherParts) {
    this.#parts = parts
    const clock = (this.#time = parts.clock ?? systemClock)
    this.#hearing = new Hearing({
      store: parts.store,
      flushEveryMs: parts.timing.eventFlushMs,
      clock,
      send: (lease, frame) => this.holderOf(lease)?.send(frame),
    })
    this.events = this.#hearing.events
    this.relay = this.#hearing.relay
    this.#clock = new SessionClock(parts.timing, {
      clock,
      sessions: () => this.#sessions.values(),
      expire: (session) => this.#endSilent(session),
      renew: (ids) => parts.store.renewSessions(ids),
      look: () => void this.#claimer.look(),
    })
    this.#startups = new StartupWatch({
      clock,
      timeoutMs: (app) => this.#timeouts.get(app)?.startupMs ?? parts.timing.startupTimeoutMs,
      isHosted: (app) => this.isHosted(app),
      fail: (id) => parts.store.failQueued(id, "runner_scheduling_failure"),
    })
    this.#due = new DueWatch({
      clock,
      store: parts.store,
      everyMs: parts.timing.dueEveryMs,
      onReleased: (app) => this.#claimer.onWork(app),
      log: parts.log,
    })
    this.channels = new ChannelBook({
      sessions: this.#sessions,
      perRunnerMax: parts.limits.channelsPerRunnerMax,
      timeoutMs: (app) => this.#requestTimeoutMs(app),
      onInput: () => this.#claimer.pump(),
      onClosed: (session) => this.#retirement.tell(session),
    })
    this.#retirement = new Retirement({
      ...parts,
      clock,
      sessions: this.#sessions,
      endChannels: (session, end) => this.channels.endSoon(session, end),
    })
    this.#claimer = new Claimer({
      ...parts,
      clock,
      sessions: this.#sessions,
      feedChannels: (session, requests) => this.channels.feed(session, requests),
      onClaims: (session, claims) => {
        for (const claim of claims) this.#assign(session, claim)
        this.#retirement.tell(session)
      },
    })
    parts.hints.onWork((app) => this.#claimer.onWork(app))
    parts.hints.onCancel((requestId, reason) => this.#onCancel(requestId, reason))
  }

  /** Takes over what an earlier life of the server left: its sessions, detached, and its queues. */
  async start(): Promise<void> {
    const { store } = this.#parts
    for (const row of await store.sessions()) {
      const identity = { id: row.session, key: row.key, runner: row.runner, apps: row.apps }
      const deadline = this.#clock.resumeDeadline()
      this.#sessions.set(row.session, new RunnerSession(identity, deadline, this.#time))
    }
    for (const { id, timeouts = {} } of await store.apps()) this.#timeouts.set(id, timeouts)
    await this.#claimer.start()
    this.#clock.start()
    this.#startups.start()
    this.#due.start()
  }

  /** The store's committed changes, after the snapshots have them. */
  commit(changed: RequestRecord[]): void {
    for (const record of changed) {
      this.#startups.observe(record)
      this.#due.observe(record)
      // A new request was hinted by its door; one that comes back is hinted here, or when it is due.
      const isBack = record.state === "queued" && record.attempts > 0
      if (isBack && record.notBefore === null) this.#claimer.onWork(record.app)
    }
  }

  /** Attempts that run, or whose outcome is on its way. */
  get attemptCount(): number {
    return [...this.#sessions.values()].reduce((sum, { attempts }) => sum + attempts.size, 0)
  }

  /** Outputs whose outcomes are not committed yet: no row names them, for as long as the store takes nothing. */
  heldBlobs(): Set<string> {
    const held = [...this.#sessions.values()].flatMap(({ attempts }) => [...attempts.values()])
    const outputs = held.map(({ transferred }) => transferred)
    return new Set(outputs.flatMap((one) => (one !== null && "blob" in one ? one.blob : [])))
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

  /** Is this session, which may be detached, of that key? */
  isOf(session: string, key: string | null): boolean {
    return this.#sessions.get(session)?.key === key
  }

  /**
   * A runner's first frame: resumes or creates its session and says what becomes of its attempts. `key`: the one that
   * opened the link; null for the local runner's. Null: it is over.
   */
  async hello(
    frame: HelloFrame,
    link: RunnerLink,
    key: string | null = null,
  ): Promise<RunnerSession | null> {
    const { store, log, onRunner } = this.#parts
    const { session: id, runner, apps, held, unacked } = frame
    // Nothing is awaited after this: what the store said is true until its next answer is handled.
    const resumption = await store.openSession({ session: id, key, runner, apps, held, unacked })
    if (resumption.expired || this.#closed) return this.#refuseExpired(link, resumption.abandon)
    const session = this.#link(frame, link, resumption, key)
    log({ event: "runner_connected", pid: runner.pid, key, apps: apps.length })
    if (session.isLocal) onRunner(runner.pid)
    return session
  }

  /** The newest link wins; what the session held is held by its new one. */
  #link(
    frame: HelloFrame,
    link: RunnerLink,
    resumption: SessionResumption,
    key: string | null,
  ): RunnerSession {
    const { timing } = this.#parts
    const known = this.#sessions.get(frame.session)
    known?.link?.close(1000, "replaced")
    if (known !== undefined) this.channels.lose(known)
    const identity = { id: frame.session, key, runner: frame.runner, apps: frame.apps }
    const session = new RunnerSession(identity, this.#clock.leaseDeadline(), this.#time)
    session.link = link
    session.slots = frame.slots
    session.claiming = known?.claiming ?? 0
    session.retiring = known?.retiring ?? false
    this.#sessions.set(session.id, session)
    const { keep, abandon, reassign } = resumption
    link.send({
      type: "welcome",
      keep: keep.map(({ lease, storedSeq }) => ({ lease, storedSeq })),
      abandon,
      orphanMs: timing.orphanMs,
    })
    for (const { lease, request, storedSeq } of keep) {
      const transferred = known?.attempts.get(lease)?.transferred ?? null
      const timeoutMs = this.#requestTimeoutMs(request.app)
      session.hold(request, { accepted: true, transferred, timeoutMs })
      this.#hearing.open(request, storedSeq)
      session.cancelIfAsked(request)
    }
    for (const claim of reassign) this.#assign(session, claim)
    for (const lease of known?.attempts.keys() ?? []) {
      if (!session.attempts.has(lease)) this.#hearing.close(lease)
    }
    if (this.#draining) session.send({ type: "drain", deadlineMs: timing.drainMs })
    else if (session.retiring) this.#retirement.resume(session)
    else this.channels.linked()
    return session
  }

  /** A session that ended stays ended: its runner gives everything up and dials again as a new one. */
  #refuseExpired(link: RunnerLink, abandon: string[]): null {
    link.send({ type: "welcome", keep: [], abandon, orphanMs: this.#parts.timing.orphanMs })
    link.close(1000, "expired")
    return null
  }

  /** A session that is not read from by our own choice is alive all the same. */
  heardFrom(session: RunnerSession): void {
    this.#clock.heardFrom(session)
  }

  /** A frame of a live session. Returns why it is a protocol error, or null. */
  frame(session: RunnerSession, frame: Exclude<RunnerFrame, HelloFrame>): string | null {
    this.#clock.heardFrom(session)
    switch (frame.type) {
      case "pong":
        return null
      case "credit":
        return this.#credit(session, frame.count)
      case "accepted":
        session.accept(frame.lease)
        return null
      case "event":
      case "chunk":
        return this.#hearing.hear(session, frame)
      case "output":
        return this.channels.output(session, frame)
      case "closed":
        this.channels.closed(session, frame)
        return null
      case "retire":
        this.#retirement.retire(session, frame.why)
        return null
      case "done":
      case "failed":
    }
    this.#conclude(session, { frame, lease: frame.lease })
    return null
  }

  /** The link of a session is gone; the session lives on until its deadline. */
  detach(session: RunnerSession, link: RunnerLink): void {
    if (session.link !== link) return
    session.link = null
    session.credits = 0
    this.channels.lose(session)
    this.#retirement.tell(session)
    session.deadline = this.#clock.leaseDeadline()
    this.#parts.log({ event: "runner_disconnected", pid: session.runner.pid })
  }

  /** Ends a session for good: its attempts are lost, and may go elsewhere. Rejects when the store cannot write now. */
  async endSession(id: string, why: string): Promise<void> {
    const session = this.#sessions.get(id)
    if (session === undefined || session.ending) return
    session.ending = true
    let ended: number
    try {
      ended = await this.#parts.store.endAttempts(id, "lost")
    } finally {
      session.ending = false
    }
    // A hello that was under way may have resumed it just before it ended.
    const current = this.#sessions.get(id) ?? session
    this.#sessions.delete(id)
    for (const one of new Set([session, current])) {
      for (const lease of one.attempts.keys()) this.#hearing.close(lease)
      this.channels.lose(one)
      one.link?.close(1000, "expired")
    }
    this.#parts.log({ event: "session_ended", pid: session.runner.pid, attempts: ended, why })
    this.#retirement.tell(session)
  }

  /** Its process is blocked by an app, stopped, or out of reach: what should have ended ends, the rest is lost. */
  async #endSilent(session: RunnerSession): Promise<void> {
    const overdue = settleOverdue({ ...this.#parts, events: this.events }, session)
    // In the same tick, and so after it: what is overdue has an outcome of its own when the rest is lost.
    await Promise.all([overdue, this.endSession(session.id, "its runner was not heard from")])
    if (session.isLocal) this.#parts.endRunner(session.runner.pid)
  }

  /** Ends the sessions of local runner processes that are known to be gone. */
  async endSessionsWhere(isGone: (pid: number) => boolean): Promise<void> {
    for (const session of [...this.#sessions.values()]) {
      if (session.isLocal && isGone(session.runner.pid))
        await this.endSession(session.id, "its process is gone")
    }
  }

  /** No more claims; resolves when every attempt has ended, `deadlineMs` has passed or the signal aborts. */
  async drain(deadlineMs: number, signal: AbortSignal): Promise<void> {
    this.#draining = true
    this.#claimer.stop()
    this.channels.stop()
    await this.#retirement.drain(deadlineMs, signal)
    this.channels.endAll(goingAway)
  }

  close(): void {
    this.#closed = true
    this.channels.stop()
    this.channels.endAll(goingAway)
    this.#clock.stop()
    this.#startups.stop()
    this.#due.stop()
    this.events.stop()
    this.#claimer.stop()
    for (const session of this.#sessions.values()) session.link?.close(1001, "going away")
  }

  #onCancel(requestId: string, reason: CancelReason): void {
    for (const session of this.#sessions.values()) session.cancelRequest(requestId, reason)
  }

  #credit(session: RunnerSession, count: number): string | null {
    if (session.credits + count > session.slots) return "more credits than slots"
    session.credits += count
    this.#claimer.pump()
    return null
  }

  #assign(session: RunnerSession, claim: Claim): void {
    this.#hearing.open(claim.request, 0)
    // The limit is the request's: an attempt gets what those before it have left.
    const logBytesMax = Math.max(0, this.#parts.limits.logBytesMax - claim.logBytes)
    session.assign(claim, { logBytesMax, timeoutMs: this.#requestTimeoutMs(claim.request.app) })
    session.cancelIfAsked(claim.request)
  }

  #requestTimeoutMs(app: string): number {
    return this.#timeouts.get(app)?.requestMs ?? this.#parts.timing.requestTimeoutMs
  }

  #conclude(session: RunnerSession, conclusion: Conclusion): void {
    const { lease } = conclusion
    const held = session.attempts.get(lease)
    if (held?.concluding === true) return
    if (held !== undefined) held.concluding = true
    concludeLease({ ...this.#parts, events: this.events }, session, conclusion).then(
      (result) => {
        const current = this.#sessions.get(session.id)
        session.attempts.delete(lease)
        current?.attempts.delete(lease)
        this.#hearing.close(lease)
        current?.send({ type: "settled", lease, result })
        if (endsRunner(conclusion)) {
          this.#retirement.stopRunner(current ?? session, "an app asked for it")
        }
        this.#retirement.tell(current ?? session)
      },
      (error: unknown) => {
        // A full disk, most likely. The runner keeps its outcome; we try again with ours.
        this.#parts.log({ event: "settle_failed", error: String(error) })
        const again = () => {
          // A runner that has dialled again said it again; the word of a session that ended counts no more.
          if (this.#closed || this.#sessions.get(session.id) !== session) return
          if (held !== undefined) held.concluding = false
          this.#conclude(session, conclusion)
        }
        this.#time.setTimeout(again, retryAfterMs).unref()
      },
    )
  }
}
