import type { AssignFrame, CancelReason, GatewayFrame, HelloFrame } from "@tintype/protocol"
import type { Clock } from "../clock.ts"
import type { Body, RequestRecord } from "../domain/request.ts"
import { doorPolicies } from "../domain/door.ts"
import type { Claim } from "../store.ts"
import type { HeldChannel } from "./realtime/held-channel.ts"

/**
 * The gateway's side of one link of a session: how many credits, which attempts. A new hello makes a new one, which
 * takes over what the session holds. Its states are those of docs/link.md: live while `link` is set, detached otherwise,
 * expired once the dispatcher drops it. Invariant: what is claimed for it never exceeds the credits that the runner
 * granted on this link.
 */
export class RunnerSession {
  readonly id: string
  /** The key that opened its link; null: none, it is of the local runner. */
  readonly key: string | null
  readonly runner: HelloFrame["runner"]
  readonly apps: ReadonlySet<string>
  readonly attempts = new Map<string, HeldLease>()
  /** Those of its link; a new link has none. */
  readonly channels: SessionChannels = {
    open: new Map(),
    waiting: new Set(),
    isInputsTurn: true,
  }
  readonly #clock: Clock
  link: RunnerLink | null = null
  /** Granted on this link and not spent; below zero where assigns went out before the runner could grant. */
  credits = 0
  /** Leases asked for by claims under way, those of the session's earlier link included. */
  claiming = 0
  slots = 0
  /** It is being replaced: it finishes what it has. */
  retiring = false
  /** Its end is on its way to the store. */
  ending = false
  /** Monotonic time at which the session expires unless it is heard from. */
  deadline: number

  constructor(
    identity: Pick<RunnerSession, "id" | "key" | "runner"> & { apps: string[] },
    deadline: number,
    clock: Clock,
  ) {
    this.id = identity.id
    this.key = identity.key
    this.runner = identity.runner
    this.apps = new Set(identity.apps)
    this.deadline = deadline
    this.#clock = clock
  }

  /** Its process is our own, and known by its pid; a pid of another machine means nothing here. */
  get isLocal(): boolean {
    return this.key === null
  }

  /** How many attempts may be claimed for it now. */
  get room(): number {
    return this.link === null || this.ending || this.retiring
      ? 0
      : Math.max(0, this.credits - this.claiming)
  }

  /** Sends to the link if there is one; what a detached runner misses is said again after its next hello. */
  send(frame: GatewayFrame): void {
    this.link?.send(frame)
  }

  /** The lease of a running request is held here. */
  hold(
    { id, attempt }: RequestRecord,
    known: Pick<HeldLease, "accepted" | "transferred" | "timeoutMs">,
  ): void {
    this.attempts.set(attempt!.lease, {
      requestId: id,
      concluding: false,
      since: this.#clock.monotonic(),
      cancelledAt: null,
      ...known,
    })
  }

  assign(claim: Claim, limits: Pick<AssignFrame, "logBytesMax" | "timeoutMs">): void {
    this.credits -= 1
    const { timeoutMs } = limits
    this.hold(claim.request, { accepted: false, transferred: null, timeoutMs })
    this.send(assignFrame(claim, limits))
  }

  /** The runner has begun: its time counts from now. */
  accept(lease: string): void {
    const held = this.attempts.get(lease)
    if (held === undefined || held.accepted) return
    held.accepted = true
    held.since = this.#clock.monotonic()
  }

  cancel(lease: string, reason: CancelReason): void {
    const held = this.attempts.get(lease)
    if (held !== undefined) held.cancelledAt ??= this.#clock.monotonic()
    this.send({ type: "cancel", lease, reason })
  }

  cancelRequest(requestId: string, reason: CancelReason): void {
    for (const [lease, held] of this.attempts) {
      if (held.requestId === requestId) this.cancel(lease, reason)
    }
  }

  /** For what was asked while there was no link, or before the request was known to be held. */
  cancelIfAsked({ attempt, cancelRequest }: RequestRecord): void {
    if (attempt === null || cancelRequest === null) return
    this.cancel(attempt.lease, cancelRequest.cause)
  }

  /** Attempts that the runner itself should have ended: their time or a cancel, and the grace after it, are over. */
  overdue(graceMs: number): Overdue[] {
    const now = this.#clock.monotonic()
    return [...this.attempts].flatMap(([lease, held]): Overdue[] => {
      if (!held.accepted || held.concluding) return []
      const workedMs = now - held.since
      if (held.cancelledAt !== null && now > held.cancelledAt + graceMs) {
        return [{ lease, reason: "aborted", workedMs }]
      }
      return workedMs > held.timeoutMs + graceMs ? [{ lease, reason: "timed_out", workedMs }] : []
    })
  }
}

/** The channels of one link; see realtime/channel-book.ts. */
export interface SessionChannels {
  open: Map<string, HeldChannel>
  /** Those with an input that waits for a slot, the one that waits longest first. */
  waiting: Set<HeldChannel>
  /** Whose turn the next slot is when a queued request wants it too. */
  isInputsTurn: boolean
}

/** An attempt that its runner has not ended in time, and why it should have. */
export interface Overdue {
  lease: string
  reason: "aborted" | "timed_out"
  workedMs: number
}

/** An attempt as the gateway knows it while its lease is held. */
export interface HeldLease {
  requestId: string
  accepted: boolean
  /** The output, when it came by `/_/transfer` or was written to a blob since. */
  transferred: Body | null
  /** Its outcome is on its way to the store. */
  concluding: boolean
  /** Monotonic: when it was assigned, accepted, or taken over from an earlier link. */
  since: number
  /** How long the app may work on it. */
  timeoutMs: number
  /** Monotonic: when its runner was first told to stop it. */
  cancelledAt: number | null
}

/** One socket of a session. */
export interface RunnerLink {
  send(frame: GatewayFrame): void
  close(code: number, reason: string): void
}

function assignFrame(
  claim: Claim,
  limits: Pick<AssignFrame, "logBytesMax" | "timeoutMs">,
): AssignFrame {
  const { request, input } = claim
  const inline = "inline" in input ? input.inline : null
  return {
    type: "assign",
    lease: request.attempt!.lease,
    attempt: request.attempt!.number,
    requestId: request.id,
    app: request.app,
    endpoint: request.endpoint,
    path: request.path,
    input: inline,
    inputBytes: "inline" in input ? input.inline.byteLength : input.bytes,
    headers: claim.headers,
    fileBase: claim.fileBase,
    streams: doorPolicies[request.door].streams,
    ...limits,
  }
}
