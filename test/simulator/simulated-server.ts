import type { DatabaseSync } from "node:sqlite"
import type { BlobStore } from "../../packages/server/src/blob.ts"
import { defaultConfig, type Timing } from "../../packages/server/src/config.ts"
import { Dispatcher } from "../../packages/server/src/dispatcher/dispatcher.ts"
import type {
  CancelCause,
  NewRequest,
  RequestRecord,
} from "../../packages/server/src/domain/request.ts"
import { LocalHints } from "../../packages/server/src/hints.ts"
import { SnapshotCache } from "../../packages/server/src/snapshot-cache.ts"
import { StoreError } from "../../packages/server/src/store.ts"
import type { ProcessClock } from "./clock.ts"
import { EngineStore, type Plant } from "./engine-store.ts"
import type { Ledger } from "./invariants.ts"
import { type LinkHost, type LinkPeer, SimulatedLink } from "./network.ts"
import type { Random } from "./random.ts"

export interface ServerParts {
  db: DatabaseSync
  clock: ProcessClock
  random: Random
  ledger: Ledger
  plant: Plant | null
  concurrencyMax: number
  trace(line: string): void
  /** A broken promise, found outside any callback of the clock. */
  fail(error: unknown): void
  refused(reason: string): void
}

/** As long as the real ones relative to each other, short enough that little happens in between. */
export const timing: Timing = {
  ...defaultConfig.timing,
  leaseMs: 6_000,
  resumeMs: 6_000,
  renewEveryMs: 2_000,
  orphanMs: 15_000,
  acceptMs: 2_000,
  graceMs: 1_000,
  startupTimeoutMs: 4_000,
  eventFlushMs: 150,
  dueEveryMs: 1_000,
  retireMs: 3_000,
  stopRunnerEveryMs: 2_000,
}

/** Bodies here are small; whatever would need a blob is a defect of the simulation. */
const noBlobs = new Proxy({} as BlobStore, {
  get: (_, name) => {
    throw new Error(`The simulation has no blobs: ${String(name)}`)
  },
})

/**
 * One life of the server: what `main.ts` composes, over a simulated clock and network, and what the doors do.
 *
 *     starting ──recovered──▶ up ──drain──▶ draining ──▶ over
 *         └──────── crash ────┴───────────────┴─────────▲
 */
export class SimulatedServer implements LinkHost {
  readonly clock: ProcessClock
  readonly dispatcher: Dispatcher
  readonly store: EngineStore
  readonly snapshots: SnapshotCache
  readonly #hints = new LocalHints()
  readonly #hintsLost: Random
  readonly #links = new Set<SimulatedLink>()
  readonly #unwatch: (() => void)[] = []
  readonly #watched = new Set<string>()
  readonly #parts: ServerParts
  #state: "starting" | "up" | "draining" | "over" = "starting"

  constructor(parts: ServerParts) {
    this.#parts = parts
    const { clock, random, ledger } = parts
    this.clock = clock
    this.store = new EngineStore({
      db: parts.db,
      clock,
      random: random.fork(),
      plant: parts.plant,
      concurrencyMax: parts.concurrencyMax,
      onFreed: (apps) => {
        for (const app of apps) this.#hints.work(app)
      },
      onApplied: (batch, applied, seen) => ledger.applied(batch, applied, seen),
      onCommit: (changed) => {
        for (const { id, state, attempts } of changed) {
          parts.trace(`committed ${id} ${state} ${attempts}`)
          this.#watch(id)
        }
        this.snapshots.commit(changed)
        this.dispatcher.commit(changed)
      },
    })
    const { limits } = defaultConfig
    const leases = random.fork()
    this.#hintsLost = random.fork()
    this.snapshots = new SnapshotCache(this.store.port, limits.snapshotBytesMax)
    this.dispatcher = new Dispatcher({
      store: this.store.port,
      blobs: noBlobs,
      hints: this.#hints,
      timing,
      limits,
      newLease: () => leases.hex(32),
      onRunner: () => {},
      // It stays, and is a zombie when it goes on.
      endRunner: () => {},
      log: () => {},
      clock,
    })
  }

  get isUp(): boolean {
    return this.#state === "up" && !this.clock.ended
  }

  get isOver(): boolean {
    return this.#state === "over"
  }

  /** Recovers and begins to listen; false when the store cannot write now. */
  async start(): Promise<boolean> {
    try {
      await this.store.port.recover()
      await this.dispatcher.start()
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      this.crash()
      return false
    }
    this.#state = "up"
    return true
  }

  /** Nothing in memory survives; who was connected finds out. */
  crash(): void {
    this.#state = "over"
    this.store.die()
    for (const link of this.#links) link.cut()
    this.clock.end()
  }

  /** Ends as `main.ts` does at a signal. */
  async stop(drainMs: number): Promise<void> {
    this.#state = "draining"
    await this.dispatcher.drain(drainMs, new AbortController().signal)
    this.dispatcher.close()
    await this.store.close()
    if (this.#state !== "draining") return
    this.crash()
  }

  dial(peer: LinkPeer): SimulatedLink | null {
    if (this.#state !== "up" && this.#state !== "draining") return null
    const link = new SimulatedLink(this, peer, this.#parts.random.fork())
    this.#links.add(link)
    return link
  }

  onRefused(reason: string): void {
    this.#parts.refused(reason)
  }

  /** What both doors do. */
  async submit(request: NewRequest): Promise<void> {
    const { ledger } = this.#parts
    this.#watch(request.id)
    const submitted = this.store.port.submit(request)
    // A hint may be lost.
    if (!this.#hintsLost.chance(0.05)) this.#hints.work(request.app)
    let record: RequestRecord
    try {
      record = await submitted
      ledger.acknowledged(request.id, record)
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      ledger.refused(request.id)
      return
    }
    const latest = await this.snapshots.get(record.id)
    if (latest !== null) ledger.told(latest)
  }

  /** The connection of a submit is closed before its answer. */
  async lose(submit: string): Promise<void> {
    try {
      await this.store.port.markLost([submit])
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
    }
  }

  /** What the run door does while its caller waits. */
  async wait(id: string, gone: AbortSignal): Promise<void> {
    const latest = await this.snapshots.untilTerminal(id, { signal: gone })
    if (latest !== null) this.#parts.ledger.told(latest)
    if (gone.aborted) await this.cancel(id, "client_disconnected")
  }

  async cancel(id: string, cause: CancelCause): Promise<void> {
    const { ledger } = this.#parts
    try {
      const { result, request } = await this.store.port.cancel({ id, cause })
      if (result === "requested") this.#hints.cancel(id, cause)
      ledger.cancelAnswered(id, result)
      // Answers of one batch tell what each write saw, which another may have changed since.
      if (request !== null) ledger.told(request, { mayBeOld: true })
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
    }
  }

  /** What a log stream reads next. */
  async follow(id: string): Promise<void> {
    const { ledger } = this.#parts
    const record = await this.snapshots.get(id)
    if (record === null) return
    ledger.logs.followed(id, await this.dispatcher.events.read(record, ledger.logs.cursor(id)))
  }

  /** The process of a runner is seen to be gone. */
  async runnerGone(pid: number): Promise<void> {
    try {
      await this.dispatcher.endSessionsWhere((one) => one === pid)
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
    }
  }

  /** Everyone who watches is told what is committed and nothing else. */
  #watch(id: string): void {
    if (this.#watched.has(id)) return
    this.#watched.add(id)
    this.#unwatch.push(this.snapshots.watch(id, (record) => this.#parts.ledger.told(record)))
  }
}
