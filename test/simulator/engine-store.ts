import type { DatabaseSync } from "node:sqlite"
import type { Clock } from "../../packages/server/src/clock.ts"
import type { RequestRecord } from "../../packages/server/src/domain/request.ts"
import { type Store, StoreError } from "../../packages/server/src/store.ts"
import { Engine } from "../../packages/server/src/stores/sqlite/engine.ts"
import {
  type Applied,
  fromFailure,
  type Operation,
  type OperationResult,
} from "../../packages/server/src/stores/sqlite/messages.ts"
import { Reader } from "../../packages/server/src/stores/sqlite/reads.ts"
import type { Random } from "./random.ts"

/** A defect planted into the store, to see that it is found. */
export interface Plant {
  /** Stands between the engine and its database. */
  wrapDatabase?(db: DatabaseSync, wake: (changed: RequestRecord[]) => void): DatabaseSync
  /** What reaches the engine in place of a batch. */
  tamper?(batch: Operation[], db: DatabaseSync): Operation[]
}

export interface EngineStoreParts {
  db: DatabaseSync
  clock: Clock
  random: Random
  plant: Plant | null
  concurrencyMax: number
  /** Before the answers leave: what was asked, and what is committed now. */
  onApplied(batch: Operation[], applied: Applied, seen: { reader: Reader; now: number }): void
  onCommit(changed: RequestRecord[]): void
  onFreed(apps: string[]): void
}

interface Pending {
  operation: Operation
  settle: (result: OperationResult) => void
}

const readNames = new Set(Object.getOwnPropertyNames(Reader.prototype))

/**
 * The store of one life of the server, over an engine in this thread. It gathers and answers as the engine's thread
 * does: writes of a turn leave together, what is called meanwhile waits for the next batch, `onCommit` comes before the
 * promises resolve. A batch is committed some time before its answers arrive; a crash may fall before, between and after.
 */
export class EngineStore {
  /** Every read of the reader, every write of the engine, whatever their names. */
  readonly port: Store
  readonly reader: Reader
  readonly #parts: EngineStoreParts
  readonly #engine: Engine
  #waiting: Pending[] = []
  #underWay: Pending[] = []
  #isScheduled = false
  #state: "open" | "closing" | "closed" | "dead" = "open"
  #onIdle: (() => void) | null = null

  constructor(parts: EngineStoreParts) {
    this.#parts = parts
    const { db, plant } = parts
    const wake = (changed: RequestRecord[]) => parts.onCommit(changed)
    this.#engine = new Engine(plant?.wrapDatabase?.(db, wake) ?? db, {
      random: () => parts.random.next(),
      concurrencyMax: parts.concurrencyMax,
      retry: { retryMinMs: 200, retryMaxMs: 2_000 },
    })
    this.reader = new Reader(db)
    this.port = new Proxy({} as Store, {
      get: (_, name) =>
        typeof name === "string" && name !== "then" ? this.#call(name) : undefined,
    })
  }

  /** The process is gone: what was not committed never will be, and nobody gets an answer. */
  die(): void {
    this.#state = "dead"
  }

  async close(): Promise<void> {
    this.#state = "closing"
    if (this.#waiting.length + this.#underWay.length > 0) {
      await new Promise<void>((resolve) => (this.#onIdle = resolve))
    }
    this.#engine.end()
    this.#state = "closed"
  }

  #call(name: string): (...input: unknown[]) => Promise<unknown> {
    if (name === "close") return () => this.close()
    if (name === "checkpoint") return () => Promise.resolve()
    return readNames.has(name)
      ? (...input) => this.#read(name as keyof Reader, input)
      : (...input) => this.#write({ name, arguments: input } as Operation)
  }

  #read(name: keyof Reader, input: unknown[]): Promise<unknown> {
    if (this.#state === "dead") return never()
    if (this.#state !== "open") return Promise.reject(new StoreError("closed", "closed"))
    const read = this.reader[name].bind(this.reader) as (...input: unknown[]) => unknown
    return new Promise((resolve) => resolve(read(...input)))
  }

  #write(operation: Operation): Promise<unknown> {
    if (this.#state === "dead") return never()
    if (this.#state !== "open") return Promise.reject(new StoreError("closed", "closed"))
    return new Promise((resolve, reject) => {
      const settle = (result: OperationResult) => {
        if (result.ok) resolve(result.value)
        else reject(fromFailure(result.failure))
      }
      this.#waiting.push({ operation, settle })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#underWay.length > 0) return
    this.#isScheduled = true
    this.#parts.clock.setImmediate(() => {
      this.#isScheduled = false
      this.#send()
    })
  }

  #send(): void {
    const { clock, random } = this.#parts
    this.#underWay = this.#waiting
    this.#waiting = []
    // A flush; now and then the disk is busy with something else.
    clock.setTimeout(() => this.#apply(), random.chance(0.03) ? random.integer(50, 800) : 1)
  }

  #apply(): void {
    const { clock, random, plant, db } = this.#parts
    const batch = this.#underWay.map(({ operation }) => operation)
    const now = clock.now()
    const applied = this.#engine.apply(plant?.tamper?.(batch, db) ?? batch, now)
    this.#parts.onApplied(batch, applied, { reader: this.reader, now })
    clock.setTimeout(() => this.#conclude(applied), random.integer(0, 3))
  }

  #conclude({ results, changed, freed }: Applied): void {
    const answered = this.#underWay
    this.#underWay = []
    if (changed.length > 0) this.#parts.onCommit(changed)
    if (freed.length > 0) this.#parts.onFreed(freed)
    for (const [index, { settle }] of answered.entries()) settle(results[index]!)
    if (this.#waiting.length > 0) this.#schedule()
    else this.#onIdle?.()
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
