import { once } from "node:events"
import { Worker } from "node:worker_threads"
import type { Limits } from "../../config.ts"
import { type Store, StoreError, type StoreEvents } from "../../store.ts"
import {
  type EngineSettings,
  fromFailure,
  type FromEngine,
  type Operation,
  type OperationResult,
  packOperations,
  type ReadName,
  sizeOf,
  type SyncReads,
  type ToEngine,
  type WriteName,
} from "./messages.ts"

export interface EngineThreadOptions extends StoreEvents, EngineSettings {
  limits: Pick<Limits, "batchOperationsMax" | "batchBytesMax">
  clock: () => number
}

/** What the store has done so far, for telemetry. */
export interface StoreCounts {
  /** Transactions that were flushed; in a file, each is one fsync of the write-ahead log. */
  commits: number
  /** Writes that were answered. */
  operations: number
  /** Writes waiting for a commit, the batch under way included. */
  pending: number
}

interface Pending {
  operation: Operation
  bytes: number
  resolve: (value: unknown) => void
  reject: (error: Error) => void
}

type Question = { type: "checkpoint" } | { type: "read"; name: ReadName; arguments: unknown[] }

/** Starts the engine's thread and waits until its database is open. */
export async function startEngineThread(options: EngineThreadOptions): Promise<EngineThread> {
  const { path, pagesMax, retry, concurrencyMax, idempotency } = options
  const settings: EngineSettings = { path, pagesMax, retry, concurrencyMax, idempotency }
  const isSource = import.meta.url.endsWith(".ts")
  const worker = new Worker(new URL(isSource ? "./worker.ts" : "./worker.js", import.meta.url), {
    workerData: settings,
    ...(isSource ? { execArgv: ["--conditions=tintype-source"] } : {}),
  })
  const [first] = (await once(worker, "message")) as [FromEngine]
  if (first.type !== "refused") return new EngineThread(worker, options)
  await worker.terminate()
  throw fromFailure({ ...first.failure, message: `Cannot open ${path}: ${first.failure.message}` })
}

/**
 * Gathers writes into batches for the engine's thread.
 *
 * Owns the writes that wait. One batch is under way at a time; what is called meanwhile gathers and leaves together
 * when it is answered (group commit). Calls of one turn of the event loop leave together too. An answer is handled in
 * one go: `onCommit` first, then the promises in call order, so that whoever is woken finds memory and rows agreeing.
 *
 *   open ── close ──▶ closing, until what waits is committed ──▶ closed
 *     └─── the engine fails ──▶ failed: what waits is never answered, and `onFatal` decides
 */
export class EngineThread {
  readonly #worker: Worker
  readonly #options: EngineThreadOptions
  readonly #questions = new Map<number, (result: OperationResult) => void>()
  #state: "open" | "closing" | "closed" | "failed" = "open"
  #waiting: Pending[] = []
  /** Writes that are in no hurry: they leave with the next batch, at its head, and are no reason for one. */
  #unhurried: Pending[] = []
  #underWay: Pending[] = []
  #isScheduled = false
  #pendingBytes = 0
  #commits = 0
  #answered = 0
  #lastQuestion = 0
  #closed: Promise<void> | null = null
  #whenIdle: (() => void) | null = null

  /** Takes a worker whose database is open; see `startEngineThread`. */
  constructor(worker: Worker, options: EngineThreadOptions) {
    this.#worker = worker
    this.#options = options
    worker.on("message", (message: FromEngine) => this.#receive(message))
    worker.on("error", (error) => {
      this.#fail(error instanceof Error ? error : new Error(String(error)))
    })
    worker.on("exit", () => {
      if (this.#state !== "closed") this.#fail(new Error("The thread of the store ended"))
    })
  }

  counts(): StoreCounts {
    const pending = this.#waiting.length + this.#underWay.length
    return { commits: this.#commits, operations: this.#answered, pending }
  }

  /**
   * Resolves after COMMIT. Errors: `full` at the limits of the batch queue and of the disk, `closed`. `waits`: until
   * another write has a batch leave.
   */
  write<Name extends WriteName>(
    name: Name,
    input: Parameters<Store[Name]>,
    { waits = false }: { waits?: boolean } = {},
  ): Promise<Awaited<ReturnType<Store[Name]>>> {
    const operation = { name, arguments: input } as Operation
    const bytes = sizeOf(operation)
    const refusal = this.#refusal(bytes)
    if (refusal !== null) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      this.#pendingBytes += bytes
      const settle = resolve as (value: unknown) => void
      const pending = { operation, bytes, resolve: settle, reject }
      if (waits) this.#unhurried.push(pending)
      else {
        this.#waiting.push(pending)
        this.#schedule()
      }
    })
  }

  /** A read on the engine's own connection, between two batches. */
  read<Name extends ReadName>(
    name: Name,
    input: Parameters<SyncReads[Name]>,
  ): Promise<ReturnType<SyncReads[Name]>> {
    return this.#ask({ type: "read", name, arguments: input }) as Promise<
      ReturnType<SyncReads[Name]>
    >
  }

  async checkpoint(): Promise<void> {
    await this.#ask({ type: "checkpoint" })
  }

  /** Commits what waits, closes the database and ends the thread. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "closing"
      if (this.#unhurried.length > 0) this.#schedule()
      if (this.#unhurried.length + this.#waiting.length + this.#underWay.length > 0) {
        await new Promise<void>((resolve) => {
          this.#whenIdle = resolve
        })
      }
    }
    // Read through a function: the state may have become `failed` while we waited.
    if (this.#hasFailed()) {
      await this.#worker.terminate()
      return
    }
    this.#state = "closed"
    const ended = once(this.#worker, "exit")
    this.#say({ type: "close" })
    await ended
  }

  #hasFailed(): boolean {
    return this.#state === "failed"
  }

  #refusal(bytes: number): StoreError | null {
    if (this.#state !== "open") return new StoreError("closed", "The store is closed")
    const { batchOperationsMax, batchBytesMax } = this.#options.limits
    const operations = this.#unhurried.length + this.#waiting.length + this.#underWay.length
    if (operations >= batchOperationsMax || this.#pendingBytes + bytes > batchBytesMax) {
      return new StoreError("full", `Too many writes wait for a commit: ${operations}`)
    }
    return null
  }

  #ask(question: Question): Promise<unknown> {
    if (this.#state !== "open") {
      return Promise.reject(new StoreError("closed", "The store is closed"))
    }
    this.#lastQuestion += 1
    const id = this.#lastQuestion
    return new Promise((resolve, reject) => {
      this.#questions.set(id, (result) => {
        if (result.ok) resolve(result.value)
        else reject(fromFailure(result.failure))
      })
      this.#say({ ...question, id })
    })
  }

  /** An immediate runs after all the sockets of this turn were read, so their writes share a flush. */
  #schedule(): void {
    if (this.#isScheduled || this.#underWay.length > 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#send()
    })
  }

  #send(): void {
    if (this.#state === "failed") return
    this.#underWay = [...this.#unhurried, ...this.#waiting]
    this.#unhurried = []
    this.#waiting = []
    const { operations, buffer } = packOperations(this.#underWay.map((one) => one.operation))
    this.#say({ type: "batch", now: this.#options.clock(), operations }, [buffer])
  }

  #say(message: ToEngine, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  #receive(message: FromEngine): void {
    switch (message.type) {
      case "applied":
        this.#conclude(message)
        return
      case "answer": {
        const answer = this.#questions.get(message.id)
        this.#questions.delete(message.id)
        answer?.(message.result)
        return
      }
      case "fatal":
        this.#fail(fromFailure(message.failure))
        return
      case "opened":
      case "refused":
    }
  }

  #conclude({ results, changed, freed, commits }: Extract<FromEngine, { type: "applied" }>): void {
    const answered = this.#underWay
    this.#underWay = []
    this.#commits = commits
    this.#answered += answered.length
    for (const { bytes } of answered) this.#pendingBytes -= bytes
    // Only a batch that was rolled back for want of space has nothing but such answers.
    const isFull = results.every((one) => !one.ok && one.failure.code === "full")
    if (results.length > 0) this.#options.onSpace?.(isFull)
    if (changed.length > 0) this.#options.onCommit(changed)
    if (freed.length > 0) this.#options.onFreed?.(freed)
    for (const [index, pending] of answered.entries()) {
      const result = results[index]
      if (result?.ok === true) pending.resolve(result.value)
      else if (result !== undefined) pending.reject(fromFailure(result.failure))
    }
    const closes = this.#state !== "open" && this.#unhurried.length > 0
    if (this.#waiting.length > 0 || closes) this.#schedule()
    else this.#whenIdle?.()
  }

  #fail(error: Error): void {
    if (this.#state === "failed" || this.#state === "closed") return
    this.#state = "failed"
    this.#whenIdle?.()
    this.#options.onFatal(error)
  }
}
