import type {
  AssignFrame,
  CancelReason,
  GatewayFrame,
  HelloFrame,
} from "@tintype/protocol"
import type { Body } from "../domain/request.ts"
import type { Claim } from "../store.ts"

/**
 * The gateway's side of one session: which link it has, how many credits, which attempts. Its states are those of
 * docs/link.md: live while `link` is set, detached otherwise, expired once the dispatcher drops it. Invariant: credits +
 * attempts ≤ slots of the last hello, while live.
 */
export class RunnerSession {
  readonly id: string
  readonly runner: HelloFrame["runner"]
  readonly apps: ReadonlySet<string>
  readonly attempts = new Map<string, HeldLease>()
  link: RunnerLink | null = null
  credits = 0
  slots = 0
  /** Monotonic time at which the session expires unless it is heard from. */
  deadline: number

  constructor(
    identity: { id: string; runner: HelloFrame["runner"]; apps: string[] },
    deadline: number,
  ) {
    this.id = identity.id
    this.runner = identity.runner
    this.apps = new Set(identity.apps)
    this.deadline = deadline
  }

  /** Sends to the link if there is one; what a detached runner misses is said again after its next hello. */
  send(frame: GatewayFrame): void {
    this.link?.send(frame)
  }

  assign(claim: Claim, logBytesMax: number): void {
    const { request } = claim
    const attempt = request.attempt!
    this.attempts.set(attempt.lease, {
      requestId: request.id,
      accepted: false,
      transferred: null,
      concluding: false,
      assignedAt: performance.now(),
    })
    this.send(assignFrame(claim, logBytesMax))
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

function assignFrame(claim: Claim, logBytesMax: number): AssignFrame {
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
    logBytesMax,
  }
}
