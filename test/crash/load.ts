import { setTimeout as sleep } from "node:timers/promises"
import { Connections } from "./connections.ts"

/** A submit that the server answered with 200: from then on it must not be lost. */
export interface Acknowledged {
  id: string
  endpoint: string
  body: Buffer
  /** Epoch milliseconds at which the whole answer had been read. */
  at: number
}

export interface Submission {
  endpoint: string
  body: Buffer
  /** Where the outcome is to be told. */
  webhook?: string
}

export interface LoadOptions {
  connections: number
  /** All connections together, when the server keeps up. */
  submitsPerSecond: number
  /** The n-th submission. */
  next(index: number): Submission
}

/**
 * Submits at a steady rate from a fixed number of connections to whatever server it is aimed at, through all its lives, and
 * records what was acknowledged. An answer that does not come is nobody's promise: it is forgotten.
 */
export class Load {
  readonly acknowledged: Acknowledged[] = []
  /** Answers other than 200, which a crash does not excuse. */
  readonly refused: { status: number; text: string }[] = []
  /** Milliseconds during which it was aimed at a server. */
  aimedMs = 0
  readonly #options: LoadOptions
  readonly #connections: Connections
  readonly #listeners = new Set<() => void>()
  #url: string | null = null
  #aimedAt = 0
  #submitted = 0
  #stopped = false
  #workers: Promise<void>[] = []

  constructor(options: LoadOptions) {
    this.#options = options
    this.#connections = new Connections(options.connections)
  }

  start(): void {
    this.#workers = Array.from({ length: this.#options.connections }, () => this.#work())
  }

  /** From now on at this server; null: it is about to die, nothing new is sent. */
  aim(url: string | null): void {
    const now = performance.now()
    if (this.#url !== null) this.aimedMs += now - this.#aimedAt
    this.#url = url
    this.#aimedAt = now
  }

  /** Resolves as soon as so many are acknowledged in all. */
  async untilAcknowledged(count: number): Promise<void> {
    if (this.acknowledged.length >= count) return
    await new Promise<void>((resolve) => {
      const check = () => {
        if (this.acknowledged.length < count) return
        this.#listeners.delete(check)
        resolve()
      }
      this.#listeners.add(check)
    })
  }

  async stop(): Promise<void> {
    this.aim(null)
    this.#stopped = true
    await Promise.all(this.#workers)
    this.#connections.close()
  }

  async #work(): Promise<void> {
    const { connections, submitsPerSecond } = this.#options
    const everyMs = (1_000 * connections) / submitsPerSecond
    let due = performance.now() + Math.random() * everyMs
    while (!this.#stopped) {
      const url = this.#url
      const waitMs = due - performance.now()
      if (url === null || waitMs > 0) {
        await sleep(url === null ? 2 : waitMs)
        continue
      }
      // What a dead server did not take is not made up for in a burst.
      due = Math.max(due + everyMs, performance.now() - everyMs)
      this.#submitted += 1
      await this.#submit(url, this.#options.next(this.#submitted))
    }
  }

  async #submit(url: string, { endpoint, body, webhook }: Submission): Promise<void> {
    const query = webhook === undefined ? "" : `?fal_webhook=${encodeURIComponent(webhook)}`
    let reply
    try {
      reply = await this.#connections.call("POST", `${url}/queue/${endpoint}${query}`, body)
    } catch {
      return
    }
    if (reply.status !== 200) {
      this.refused.push({ status: reply.status, text: reply.body.toString().slice(0, 200) })
      return
    }
    const { request_id: id } = JSON.parse(reply.body.toString()) as { request_id: string }
    this.acknowledged.push({ id, endpoint, body, at: Date.now() })
    for (const listener of this.#listeners) listener()
  }
}
