import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"
import type { ReceiverOrder, ReceiverReport } from "./report.ts"

type ReportOf<Kind extends ReceiverReport["kind"]> = Extract<ReceiverReport, { kind: Kind }>

/** The bench's side of the receiver; it ends with the bench. */
export class Receiving {
  readonly #child: ChildProcess
  readonly #reports: ReceiverReport[] = []
  readonly #listeners = new Set<(report: ReceiverReport) => void>()

  constructor(origins: number, hanging: number) {
    const args = [String(origins), String(hanging)]
    this.#child = fork(join(import.meta.dirname, "receiver.ts"), args, { detached: true })
    this.#child.on("message", (report: ReceiverReport) => {
      this.#reports.push(report)
      for (const listener of [...this.#listeners]) listener(report)
    })
  }

  tell(order: ReceiverOrder): void {
    this.#child.send(order)
  }

  /** The first report of this kind; rejects when the receiver ends or none comes in time. */
  async hear<Kind extends ReceiverReport["kind"]>(
    kind: Kind,
    withinMs: number,
  ): Promise<ReportOf<Kind>> {
    const heard = Promise.withResolvers<ReportOf<Kind>>()
    const look = (report: ReceiverReport) => {
      if (report.kind === kind) heard.resolve(report as ReportOf<Kind>)
    }
    const giveUp = () => heard.reject(new Error(`the receiver has nothing ${kind}`))
    this.#reports.forEach(look)
    this.#listeners.add(look)
    this.#child.once("exit", giveUp)
    const timer = setTimeout(giveUp, withinMs)
    try {
      return await heard.promise
    } finally {
      clearTimeout(timer)
      this.#listeners.delete(look)
      this.#child.off("exit", giveUp)
    }
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect()
  }
}
