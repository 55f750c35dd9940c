import type { AssignFrame, CancelReason, GatewayFrame, HelloFrame } from "@tintype/protocol"
import type { Clock } from "../clock.ts"
import type { Body, RequestRecord } from "../domain/request.ts"
import type { Claim } from "../store.ts"

/**
 * The gateway's side of one link of a session: how many credits, which attempts. A new hello makes a new one, which
 * takes over what the session holds. Its states are those of docs/link.md: live while `link` is set, detached otherwise,
 * expired once the dispatcher drops it. Invariant: what is claimed for it never exceeds the credits that the runner
 * granted on this link.
 */
export class RunnerSession {
  readonly id: string
  readonly runner: HelloFrame["runner"]
  readonly apps: ReadonlySet<string>
  readonly attempts = new Map<string, HeldLease>()
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
    identity: { id: string; runner: HelloFrame["runner"]; apps: string[] },
    deadline: number,
    clock: Clock,
  ) {
    this.id = identity.id
    this.runner = identity.runner
    this.apps = new Set(identity.apps)
    this.deadline = deadline
    this.#clock = clock
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
  hold({ id, attempt }: RequestRecord, known: Pick<HeldLease, "accepted" | "transferred">): void {
    this.attempts.set(attempt!.lease, {
      requestId: id,
      concluding: false,
      assignedAt: this.#clock.monotonic(),
      ...known,
    })
  }

  assign(claim: Claim, limits: Pick<AssignFrame, "logBytesMax" | "timeoutMs">): void {
    this.credits -= 1
    this.hold(claim.request, { accepted: false, transferred: null })
    this.send(assignFrame(claim, limits))
  }

  cancel(lease: string, reason: CancelReason): void {
    this.send({ type: "cancel", lease, reason })
  }
}

/** An attempt as the gateway knows it while its lease is held. */
export interface HeldLease {
  requestId: string
  accepted: boolean
  /** The output, when it came by `/_/transfer`. */
  transferred: Body | null
  /** Its outcome is on its way to the store. */
  concluding: boolean
  /** Monotonic. */
  assignedAt: number
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
    ...limits,
  }
}
