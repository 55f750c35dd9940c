import type { ConnectionOwner } from "./connection-owner.ts"

/** So many different ones are told of; a program that tries every host there is says no more than that. */
const toldMax = 100

export interface Refusal {
  host: string
  port: number
  /** In a sentence that names the host. */
  why: string
}

/** Hosts that a program asked for in vain. Each is told of once for each process that asks. */
export class Refusals {
  readonly #say: (line: string) => void
  readonly #told = new Set<string>()
  readonly #reasons = new Set<string>()

  constructor(say: (line: string) => void) {
    this.#say = say
  }

  get any(): boolean {
    return this.#reasons.size > 0
  }

  /** Is it worth to find out who asks? */
  get isFull(): boolean {
    return this.#told.size >= toldMax
  }

  add({ host, port, why }: Refusal, owner: ConnectionOwner | null): void {
    if (this.isFull) return
    this.#reasons.add(why)
    const who = owner === null ? "" : `, asked for by process ${owner.pid} (${owner.command})`
    const line = `refused ${host}:${port}${who}`
    if (this.#told.has(line)) return
    this.#told.add(line)
    this.#say(line)
  }

  /** What the run ends with. */
  summary(): string[] {
    return [...this.#reasons]
  }
}
