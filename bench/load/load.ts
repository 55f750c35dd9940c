import { type ChildProcess, fork, spawnSync } from "node:child_process"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import type { LoadOrderName, LoadOrders, ReplyMessage } from "./orders.ts"

/** The one process that makes all the load: the same program, warm from the first row on, for everyone who is measured. */
export class Load {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #ordered = 0
  /** It runs on one core only, so that it is not moved about between those that it loads. */
  readonly pinned: boolean

  constructor() {
    this.#child = fork(join(import.meta.dirname, "generator.ts"))
    this.pinned = pin(this.#child.pid)
    this.#child.on("message", (message: ReplyMessage) => this.#hear(message))
    this.#child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the load ended"))
    })
  }

  /** Resolves when the order is carried out; one at a time, so that none disturbs another. */
  order<Name extends LoadOrderName>(
    name: Name,
    order: Parameters<LoadOrders[Name]>[0],
  ): ReturnType<LoadOrders[Name]> {
    const number = (this.#ordered += 1)
    const answer = Promise.withResolvers<unknown>()
    this.#waiting.set(number, answer)
    this.#child.send({ number, name, order })
    return answer.promise as ReturnType<LoadOrders[Name]>
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect()
  }

  #hear(message: ReplyMessage): void {
    const answer = this.#waiting.get(message.number)
    this.#waiting.delete(message.number)
    if ("error" in message) answer?.reject(new Error(message.error))
    else answer?.resolve(message.figures)
  }
}

function pin(pid: number | undefined): boolean {
  if (pid === undefined || process.platform !== "linux") return false
  const core = String(availableParallelism() - 1)
  const { status } = spawnSync("taskset", ["-a", "-p", "-c", core, String(pid)], {
    stdio: "ignore",
  })
  return status === 0
}
