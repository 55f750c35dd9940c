import { setTimeout as sleep } from "node:timers/promises"
import { Connections } from "./connections.ts"
import type { Acknowledged } from "./load.ts"

/** A result that a caller has read while the server was alive. */
export interface SeenResult {
  acknowledged: Acknowledged
  status: number
  body: Buffer
}

/**
 * A caller beside the load that reads results as soon as there are any: what it has seen is terminal for ever, whatever dies
 * afterwards. It has a connection of its own.
 */
export class ResultWatch {
  readonly seen: SeenResult[] = []
  readonly #connections = new Connections(1)
  readonly #acknowledged: Acknowledged[]
  #url: string | null = null
  #stopped = false
  #work: Promise<void> = Promise.resolve()

  /** Follows a list that grows, in its order. */
  constructor(acknowledged: Acknowledged[]) {
    this.#acknowledged = acknowledged
  }

  start(): void {
    this.#work = this.#watch()
  }

  aim(url: string | null): void {
    this.#url = url
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#work
    this.#connections.close()
  }

  /** Sentences about results that are not any more what they were. */
  async recheck(url: string): Promise<string[]> {
    const connections = new Connections(4)
    const changed: string[] = []
    for (const { acknowledged, status, body } of this.seen) {
      const { endpoint, id } = acknowledged
      const reply = await connections.call("GET", `${url}/queue/${endpoint}/requests/${id}`)
      if (reply.status !== status || !reply.body.equals(body)) {
        changed.push(`${id}: was ${status}, then ${reply.status} ${reply.body.toString()}`)
      }
    }
    connections.close()
    return changed
  }

  async #watch(): Promise<void> {
    let next = 0
    while (!this.#stopped) {
      const one = this.#acknowledged[next]
      const url = this.#url
      if (url === null || one === undefined) await sleep(5)
      else if (await this.#follow(url, one)) next += 1
    }
  }

  /** False when the server died over it; another life will be asked again. */
  async #follow(url: string, acknowledged: Acknowledged): Promise<boolean> {
    const { endpoint, id } = acknowledged
    while (!this.#stopped) {
      const reply = await this.#connections
        .call("GET", `${url}/queue/${endpoint}/requests/${id}`)
        .catch(() => null)
      if (reply === null) return false
      // 400 is "still in progress"; everything else is the outcome.
      if (reply.status !== 400) {
        this.seen.push({ acknowledged, status: reply.status, body: reply.body })
        return true
      }
      await sleep(5)
    }
    return false
  }
}
