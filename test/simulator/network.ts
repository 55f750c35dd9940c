import type { GatewayFrame, RunnerFrame } from "@tintype/protocol"
import type { Dispatcher } from "../../packages/server/src/dispatcher/dispatcher.ts"
import type {
  RunnerLink,
  RunnerSession,
} from "../../packages/server/src/dispatcher/runner-session.ts"
import type { ProcessClock } from "./clock.ts"
import type { Random } from "./random.ts"

/** The runner's end of a link. */
export interface LinkPeer {
  readonly clock: ProcessClock
  receive(link: SimulatedLink, frame: GatewayFrame): void
  lost(link: SimulatedLink, reason: string): void
}

/** The gateway's end of a link. */
export interface LinkHost {
  readonly clock: ProcessClock
  readonly dispatcher: Dispatcher
  /** A close that says that the other end broke the protocol. */
  onRefused(reason: string): void
}

/** For the other end's half of a close. */
const closeMs = 1_000

/**
 * One socket between a runner and the gateway: messages arrive late, in order, or not at all. The gateway's end does what
 * `LinkSocket` of the link server does: frames wait until the hello is answered, nothing is applied once it is closing.
 *
 *     open ──close──▶ closing ──the other end's half, or a second──▶ closed
 *       └──────────────cut, process gone────────────────────────────▲
 */
export class SimulatedLink implements RunnerLink {
  readonly #host: LinkHost
  readonly #peer: LinkPeer
  readonly #random: Random
  #session: RunnerSession | null = null
  #applied: Promise<void> = Promise.resolve()
  #state: "open" | "closing" | "closed" = "open"
  /** What is under way never arrives. */
  #broken = false
  #hostArrivalMs = 0
  #peerArrivalMs = 0

  constructor(host: LinkHost, peer: LinkPeer, random: Random) {
    this.#host = host
    this.#peer = peer
    this.#random = random
  }

  get isWhole(): boolean {
    return !this.#broken && this.#state === "open"
  }

  /** From the gateway. */
  send(frame: GatewayFrame): void {
    if (this.#state !== "open") return
    this.#toPeer(() => this.#peer.receive(this, frame))
  }

  /** By the gateway. */
  close(code: number, reason: string): void {
    if (this.#state !== "open") return
    this.#state = "closing"
    if (code === 1002 && reason !== "assign not accepted in time") this.#host.onRefused(reason)
    this.#toPeer(() => {
      this.#peer.lost(this, reason)
      this.#toHost(() => this.#closed())
    })
    this.#host.clock.setTimeout(() => this.#closed(), closeMs)
  }

  /** From the runner. */
  say(frame: RunnerFrame): void {
    this.#toHost(() => {
      if (this.#state !== "open") return
      if (this.#session !== null) this.#apply(frame)
      else this.#then(() => this.#greet(frame))
    })
  }

  /** By the runner, or as its process is gone. */
  drop(): void {
    this.#toHost(() => this.#closed())
  }

  /** Both ends see it soon. */
  cut(): void {
    if (this.#broken) return
    this.#broken = true
    const { clock } = this.#peer
    clock.setTimeout(() => this.#peer.lost(this, ""), this.#latencyMs())
    this.#host.clock.setTimeout(() => this.#closed(), this.#latencyMs())
  }

  /** Nobody sees anything; each end finds out by the other's silence. */
  swallow(): void {
    this.#broken = true
  }

  #greet(frame: RunnerFrame): Promise<void> | void {
    if (this.#state !== "open") return
    if (this.#session !== null || frame.type !== "hello") return this.#apply(frame)
    return this.#host.dispatcher.hello(frame, this).then((session) => {
      this.#session = session
    })
  }

  #apply(frame: RunnerFrame): void {
    const session = this.#session
    if (session === null || this.#state !== "open") return
    const wrong =
      frame.type === "hello" ? "a second hello" : this.#host.dispatcher.frame(session, frame)
    if (wrong !== null) this.close(1002, wrong)
  }

  #closed(): void {
    if (this.#state === "closed") return
    this.#state = "closed"
    this.#then(() => {
      if (this.#session !== null) this.#host.dispatcher.detach(this.#session, this)
    })
  }

  #then(step: () => Promise<void> | void): void {
    // The store cannot take a hello now; the runner dials again.
    this.#applied = this.#applied.then(step).catch(() => this.close(1013, "try again"))
  }

  #toPeer(arrive: () => void): void {
    const { clock } = this.#peer
    const now = clock.monotonic()
    this.#peerArrivalMs = Math.max(this.#peerArrivalMs, now + this.#latencyMs())
    clock.setTimeout(() => {
      if (!this.#broken) arrive()
    }, this.#peerArrivalMs - now)
  }

  #toHost(arrive: () => void): void {
    const { clock } = this.#host
    const now = clock.monotonic()
    this.#hostArrivalMs = Math.max(this.#hostArrivalMs, now + this.#latencyMs())
    clock.setTimeout(() => {
      if (!this.#broken) arrive()
    }, this.#hostArrivalMs - now)
  }

  #latencyMs(): number {
    return this.#random.chance(0.05) ? this.#random.integer(20, 600) : this.#random.integer(0, 4)
  }
}
