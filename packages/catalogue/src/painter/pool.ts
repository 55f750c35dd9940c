import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import { PictureError } from "@tintype/diffusion"
import type { Order, PaintJob, Picture, Preview, Report } from "./job.ts"

/** Orders that may wait for a thread; a runner's slots keep it far below. */
const waitingMax = 512

/** A step is done; with a `preview`, where the job asked for them. */
export type OnStep = (step: number, preview?: Preview) => void

interface Ticket {
  order: Order
  onStep: OnStep
  resolve: (picture: Picture) => void
  reject: (error: unknown) => void
}

/**
 * The painter's threads: started when work comes, at most one a core, each with one order at a time. A thread that
 * dies takes its order with it and is replaced by the next order.
 */
export class PainterPool {
  readonly #size: number
  readonly #idle: Worker[] = []
  readonly #busy = new Map<Worker, Ticket>()
  readonly #waiting: Ticket[] = []
  #numbers = 0

  constructor(size = availableParallelism()) {
    this.#size = size
  }

  /** Paints off the event loop. Rejects with the signal's reason as soon as it is aborted. */
  paint(job: PaintJob, signal: AbortSignal, onStep: OnStep): Promise<Picture> {
    const stop = new SharedArrayBuffer(4)
    const { promise, resolve, reject } = Promise.withResolvers<Picture>()
    if (signal.aborted) return Promise.reject(asError(signal.reason))
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(new Error(`${waitingMax} pictures are waiting for the painter already`))
    }
    const order: Order = { number: ++this.#numbers, job, stop }
    const ticket: Ticket = { order, onStep, resolve, reject }
    const abort = () => {
      Atomics.store(new Int32Array(stop), 0, 1)
      const place = this.#waiting.indexOf(ticket)
      if (place >= 0) this.#waiting.splice(place, 1)
      reject(asError(signal.reason))
    }
    signal.addEventListener("abort", abort, { once: true })
    this.#waiting.push(ticket)
    this.#assign()
    return promise.finally(() => signal.removeEventListener("abort", abort))
  }

  /** Ends every thread; what they paint is lost. */
  async close(): Promise<void> {
    const ended = new Error("the painter's threads ended")
    for (const ticket of this.#waiting.splice(0)) ticket.reject(ended)
    const workers = [...this.#idle, ...this.#busy.keys()]
    await Promise.all(workers.map((worker) => worker.terminate()))
  }

  #assign(): void {
    while (this.#waiting.length > 0) {
      const worker = this.#idle.pop() ?? this.#start()
      if (worker === null) return
      const ticket = this.#waiting.shift()!
      this.#busy.set(worker, ticket)
      worker.ref()
      worker.postMessage(ticket.order, [])
    }
  }

  #start(): Worker | null {
    if (this.#busy.size + this.#idle.length >= this.#size) return null
    // From source the file is TypeScript and so are the packages it imports; built, it is JavaScript.
    const fromSource = import.meta.url.endsWith(".ts")
    const worker = new Worker(
      new URL(fromSource ? "./worker.ts" : "./worker.js", import.meta.url),
      {
        execArgv: fromSource ? ["--conditions=tintype-source"] : [],
      },
    )
    worker.on("message", (report: Report) => this.#hear(worker, report))
    worker.on("error", (error) => this.#lose(worker, error))
    worker.on("exit", () => this.#lose(worker, new Error("the painter's thread ended")))
    return worker
  }

  #hear(worker: Worker, report: Report): void {
    const ticket = this.#busy.get(worker)
    if (ticket === undefined || ticket.order.number !== report.number) return
    if (report.kind === "step") {
      ticket.onStep(report.step, report.preview)
      return
    }
    this.#busy.delete(worker)
    this.#idle.push(worker)
    worker.unref()
    if (report.kind === "picture") ticket.resolve(report.picture)
    else if (report.kind === "refused") ticket.reject(new PictureError(report.refusal))
    else ticket.reject(new Error(report.message))
    this.#assign()
  }

  #lose(worker: Worker, error: Error): void {
    const place = this.#idle.indexOf(worker)
    if (place >= 0) this.#idle.splice(place, 1)
    this.#busy.get(worker)?.reject(error)
    this.#busy.delete(worker)
    this.#assign()
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason })
}
