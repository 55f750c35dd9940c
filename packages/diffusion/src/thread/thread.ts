import { Worker } from "node:worker_threads"
import { DiffusionError } from "../diffusion-error.ts"
import type { Audience, Job, Picture, Preview } from "../job.ts"
import { previewsWaitMsMax, waitingMax } from "../limits.ts"
import type { LoadedModel, Order, Report } from "./order.ts"
import type { Settings } from "../settings.ts"

interface Ticket {
  order: Extract<Order, { kind: "job" }>
  audience: Audience
  resolve: (pictures: Picture[]) => void
  reject: (error: unknown) => void
  /** False once somebody was told that there will be no pictures. */
  wanted: boolean
  /** The previews of an earlier step have not been taken yet. */
  showing: boolean
  /** What is left of the time that the thread waits for this job's previews to be taken. */
  patienceMs: number
}

/**
 * The thread that runs networks, for every model: ONNX Runtime blocks the one that calls it and takes all cores by itself, so a
 * second one would only slow the first. Started by the first job, given one job at a time, in order. When it dies, its
 * job fails and the next one starts another. An idle thread keeps no process alive.
 */
export class DiffusionThread {
  readonly #settings: Settings
  readonly #onModels: (models: readonly LoadedModel[]) => void
  readonly #waiting: Ticket[] = []
  #worker: Worker | undefined
  #current: Ticket | undefined
  #numbers = 0
  /** What the thread has in memory. */
  models: readonly LoadedModel[] = []

  /** `onModels` is told whenever what is in memory has changed. */
  constructor(settings: Settings, onModels: (models: readonly LoadedModel[]) => void = () => {}) {
    this.#settings = settings
    this.#onModels = onModels
  }

  /** Rejects with the signal's reason as soon as it is aborted; the thread is free within a step. */
  carryOut(job: Job, folder: string, audience: Audience): Promise<Picture[]> {
    const { signal } = audience
    if (signal.aborted) return Promise.reject(asError(signal.reason))
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(new Error(`${waitingMax} jobs are waiting for the models already`))
    }
    const { promise, resolve, reject } = Promise.withResolvers<Picture[]>()
    const stop = new SharedArrayBuffer(4)
    const order = { kind: "job", number: ++this.#numbers, job, folder, stop } as const
    const ticket: Ticket = {
      order,
      audience,
      resolve,
      reject,
      wanted: true,
      showing: false,
      patienceMs: previewsWaitMsMax,
    }
    const abort = () => this.#abandon(ticket, asError(signal.reason))
    signal.addEventListener("abort", abort, { once: true })
    this.#waiting.push(ticket)
    this.#assign()
    return promise.finally(() => signal.removeEventListener("abort", abort))
  }

  /** Ends the thread with the job it is at. */
  async close(): Promise<void> {
    const ended = new Error("the diffusion thread ended")
    for (const ticket of this.#waiting.splice(0)) ticket.reject(ended)
    await this.#worker?.terminate()
  }

  #assign(): void {
    if (this.#current !== undefined) return
    const ticket = this.#waiting.shift()
    if (ticket === undefined) return
    this.#current = ticket
    this.#worker ??= this.#start()
    this.#worker.ref()
    this.#post(ticket.order)
  }

  #post(order: Order): void {
    this.#worker?.postMessage(order, [])
  }

  #start(): Worker {
    // From source the file is TypeScript and so are the packages it imports; built, it is JavaScript.
    const fromSource = import.meta.url.endsWith(".ts")
    const file = new URL(fromSource ? "./worker.ts" : "./worker.js", import.meta.url)
    const worker = new Worker(file, {
      workerData: this.#settings,
      execArgv: fromSource ? ["--conditions=tintype-source"] : [],
    })
    worker.on("message", (report: Report) => this.#hear(worker, report))
    worker.on("error", (error) => this.#lose(worker, error))
    worker.on("exit", () => this.#lose(worker, new Error("the diffusion thread ended")))
    return worker
  }

  #hear(worker: Worker, report: Report): void {
    if (worker !== this.#worker) return
    if (report.kind === "models") {
      this.#keep(report.models)
      return
    }
    const ticket = this.#current
    if (ticket === undefined || ticket.order.number !== report.number) return
    const { audience } = ticket
    switch (report.kind) {
      case "log":
        if (ticket.wanted) audience.log(report.message)
        return
      case "step":
        void this.#tell(ticket, report)
        return
      case "pictures":
        ticket.resolve(report.pictures)
        break
      case "refused":
        ticket.reject(new DiffusionError(report.refusal))
        break
      case "failed":
        ticket.reject(new Error(report.message))
    }
    this.#current = undefined
    worker.unref()
    this.#assign()
  }

  /** The thread waits for `seen` after a step with previews. */
  async #tell(ticket: Ticket, report: Extract<Report, { kind: "step" }>): Promise<void> {
    const { audience } = ticket
    const { number, step, steps, previews } = report
    try {
      if (ticket.wanted) {
        audience.log(`step ${step}/${steps}`)
        audience.progress(step, steps)
        if (previews !== undefined) await this.#show(ticket, previews)
      }
    } catch (error) {
      this.#abandon(ticket, asError(error))
    }
    if (previews !== undefined) this.#post({ kind: "seen", number })
  }

  /** Waits for somebody who looks slowly; who does not look at all does not hold up the jobs behind. */
  async #show(ticket: Ticket, previews: Preview[]): Promise<void> {
    const { audience, patienceMs } = ticket
    if (ticket.showing || audience.onPreviews === undefined) return
    ticket.showing = true
    const startedAt = performance.now()
    const taken = audience.onPreviews(previews).finally(() => (ticket.showing = false))
    // It may fail when nobody waits for it any more.
    taken.catch((error: unknown) => this.#abandon(ticket, asError(error)))
    const { promise: late, resolve: goOn } = Promise.withResolvers<void>()
    const timer = setTimeout(goOn, patienceMs).unref()
    await Promise.race([taken, late]).finally(() => clearTimeout(timer))
    ticket.patienceMs = Math.max(0, patienceMs - (performance.now() - startedAt))
  }

  /** Nobody wants these pictures any more. */
  #abandon(ticket: Ticket, reason: Error): void {
    ticket.wanted = false
    Atomics.store(new Int32Array(ticket.order.stop), 0, 1)
    const place = this.#waiting.indexOf(ticket)
    if (place >= 0) this.#waiting.splice(place, 1)
    ticket.reject(reason)
    // The thread may be waiting for previews to be taken by a caller who is gone.
    if (ticket === this.#current) this.#post({ kind: "seen", number: ticket.order.number })
  }

  #keep(models: readonly LoadedModel[]): void {
    this.models = models
    this.#onModels(models)
  }

  #lose(worker: Worker, error: Error): void {
    if (worker !== this.#worker) return
    this.#worker = undefined
    if (this.models.length > 0) this.#keep([])
    this.#current?.reject(error)
    this.#current = undefined
    this.#assign()
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason })
}
