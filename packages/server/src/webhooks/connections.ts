import { type ClientRequest, type RequestOptions, Agent } from "node:http"
import { Agent as AgentTls } from "node:https"
import type { Duplex } from "node:stream"
import { type AddressRule, guardedLookup } from "@tintype/app/address-rule"

/** Shorter than any receiver keeps a connection, so that it does not close one just as it is used. */
const idleMs = 1_000

/** Connections that wait for their next call, at most `max`. */
class Idle {
  readonly #max: number
  readonly #sockets = new Set<Duplex>()

  constructor(max: number) {
    this.#max = max
  }

  hasRoom(): boolean {
    if (this.#sockets.size < this.#max) return true
    for (const socket of this.#sockets) if (socket.destroyed) this.#sockets.delete(socket)
    return this.#sockets.size < this.#max
  }

  add(socket: Duplex): void {
    this.#sockets.add(socket)
  }

  delete(socket: Duplex): void {
    this.#sockets.delete(socket)
  }
}

/** Connections to receivers, every one of them judged by the same rule when it was made. */
export class Connections {
  readonly #rule: AddressRule
  readonly #agents: Record<string, Agent>

  constructor({ idleMax, ...rule }: AddressRule & { idleMax: number }) {
    this.#rule = rule
    const idle = new Idle(idleMax)
    this.#agents = { "http:": bound(Agent, idle), "https:": bound(AgentTls, idle) }
  }

  /** What a call to `url` is made with. Throws `ForbiddenAddressError` when its host is such an address itself. */
  optionsFor(url: URL): Pick<RequestOptions, "agent" | "lookup"> {
    return { agent: this.#agents[url.protocol], lookup: guardedLookup(url, this.#rule) }
  }

  /** Ends those that are idle. */
  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }
}

function bound(Base: typeof Agent, idle: Idle): Agent {
  class Bound extends Base {
    /** False ends the connection. */
    override keepSocketAlive(socket: Duplex): boolean {
      // Its type does not say that it knows receivers who keep connections for less than a second.
      const isKept = idle.hasRoom() && (super.keepSocketAlive(socket) as unknown) !== false
      if (isKept) idle.add(socket)
      return isKept
    }

    override reuseSocket(socket: Duplex, request: ClientRequest): void {
      idle.delete(socket)
      super.reuseSocket(socket, request)
    }
  }
  return new Bound({ keepAlive: true, timeout: idleMs })
}
