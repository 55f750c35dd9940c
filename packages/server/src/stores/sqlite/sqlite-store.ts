import type { DatabaseSync } from "node:sqlite"
import { defaultConfig, type Limits } from "../../config.ts"
import type { IdempotencySettings } from "../../domain/idempotency.ts"
import type { RetryTiming } from "../../domain/retry.ts"
import { type Store, StoreError, type StoreEvents } from "../../store.ts"
import { openReader } from "./connection.ts"
import { type EngineThread, startEngineThread, type StoreCounts } from "./engine-thread.ts"
import type { ReadName, SyncReads } from "./messages.ts"
import { Reader } from "./reads.ts"

export interface SqliteStoreOptions extends StoreEvents {
  /** The database file, in a folder that exists, or `:memory:`. */
  path: string
  limits: Pick<Limits, "batchOperationsMax" | "batchBytesMax"> &
    Partial<Pick<Limits, "concurrencyMax">>
  /** Epoch milliseconds, whole ones; each batch is stamped once, when it leaves. */
  clock?: () => number
  /** Of the backoff; the defaults of the configuration when it is not given. */
  retry?: RetryTiming
  /** What is taken for a repeat; the defaults of the configuration when it is not given. */
  idempotency?: IdempotencySettings
  /** Largest size of the database in pages of 4 KiB: a disk that is full, for tests. */
  pagesMax?: number
}

type Input<Name extends keyof Store> = Parameters<Store[Name]>
type Output<Name extends keyof Store> = ReturnType<Store[Name]>

/**
 * Opens the database, made when it is not there, and starts the thread that writes it. Its counts are for telemetry.
 *
 * Errors: `StoreError("corrupt")` for a file that is no database of ours or was written by a newer build.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const { path, limits, clock = Date.now, pagesMax = null } = options
  const { retryMinMs, retryMaxMs } = options.retry ?? defaultConfig.timing
  const { keyTtlMs, resendWindowMs, detectLost } = options.idempotency ?? defaultConfig.idempotency
  const thread = await startEngineThread({
    path,
    pagesMax,
    retry: { retryMinMs, retryMaxMs },
    concurrencyMax: limits.concurrencyMax ?? 0,
    idempotency: { keyTtlMs, resendWindowMs, detectLost },
    limits,
    clock,
    onCommit: (changed) => options.onCommit(changed),
    onFatal: (error) => options.onFatal(error),
    onFreed: (apps) => options.onFreed?.(apps),
    onSpace: (isFull) => options.onSpace?.(isFull),
  })
  try {
    return new SqliteStore(thread, path)
  } catch (cause) {
    await thread.close()
    throw new Error(`Cannot open ${path} for reading: ${(cause as Error).message}`, { cause })
  }
}

/** The port on SQLite: writes go to the engine's thread, reads to a connection of their own in this one. */
export class SqliteStore implements Store {
  readonly #thread: EngineThread
  /** Null for `:memory:`, whose rows only the engine's own connection can see. */
  readonly #rows: { db: DatabaseSync; reader: Reader } | null

  constructor(thread: EngineThread, path: string) {
    this.#thread = thread
    if (path === ":memory:") this.#rows = null
    else {
      const db = openReader(path)
      this.#rows = { db, reader: new Reader(db) }
    }
  }

  counts(): StoreCounts {
    return this.#thread.counts()
  }

  putApp(...input: Input<"putApp">): Output<"putApp"> {
    return this.#thread.write("putApp", input)
  }

  submit(...input: Input<"submit">): Output<"submit"> {
    return this.#thread.write("submit", input)
  }

  markLost(...input: Input<"markLost">): Output<"markLost"> {
    return this.#thread.write("markLost", input)
  }

  markNamed(...input: Input<"markNamed">): Output<"markNamed"> {
    return this.#thread.write("markNamed", input, { waits: true })
  }

  claim(...input: Input<"claim">): Output<"claim"> {
    return this.#thread.write("claim", input)
  }

  settle(...input: Input<"settle">): Output<"settle"> {
    return this.#thread.write("settle", input)
  }

  cancel(...input: Input<"cancel">): Output<"cancel"> {
    return this.#thread.write("cancel", input)
  }

  failQueued(...input: Input<"failQueued">): Output<"failQueued"> {
    return this.#thread.write("failQueued", input)
  }

  advance(): Output<"advance"> {
    return this.#thread.write("advance", [])
  }

  openSession(...input: Input<"openSession">): Output<"openSession"> {
    return this.#thread.write("openSession", input)
  }

  renewSessions(...input: Input<"renewSessions">): Output<"renewSessions"> {
    return this.#thread.write("renewSessions", input)
  }

  endAttempts(...input: Input<"endAttempts">): Output<"endAttempts"> {
    return this.#thread.write("endAttempts", input)
  }

  appendEvents(...input: Input<"appendEvents">): Output<"appendEvents"> {
    return this.#thread.write("appendEvents", input)
  }

  addFile(...input: Input<"addFile">): Output<"addFile"> {
    return this.#thread.write("addFile", input)
  }

  setFileAcl(...input: Input<"setFileAcl">): Output<"setFileAcl"> {
    return this.#thread.write("setFileAcl", input)
  }

  openUpload(...input: Input<"openUpload">): Output<"openUpload"> {
    return this.#thread.write("openUpload", input)
  }

  addPart(...input: Input<"addPart">): Output<"addPart"> {
    return this.#thread.write("addPart", input)
  }

  finishUpload(...input: Input<"finishUpload">): Output<"finishUpload"> {
    return this.#thread.write("finishUpload", input)
  }

  setStorage(...input: Input<"setStorage">): Output<"setStorage"> {
    return this.#thread.write("setStorage", input)
  }

  recordTry(...input: Input<"recordTry">): Output<"recordTry"> {
    return this.#thread.write("recordTry", input)
  }

  requeueDelivery(...input: Input<"requeueDelivery">): Output<"requeueDelivery"> {
    return this.#thread.write("requeueDelivery", input)
  }

  createKey(...input: Input<"createKey">): Output<"createKey"> {
    return this.#thread.write("createKey", input)
  }

  revokeKey(...input: Input<"revokeKey">): Output<"revokeKey"> {
    return this.#thread.write("revokeKey", input)
  }

  touchKeys(...input: Input<"touchKeys">): Output<"touchKeys"> {
    return this.#thread.write("touchKeys", input)
  }

  prune(...input: Input<"prune">): Output<"prune"> {
    return this.#thread.write("prune", input)
  }

  recover(): Output<"recover"> {
    return this.#thread.write("recover", [])
  }

  app(...input: Input<"app">): Output<"app"> {
    return this.#read("app", input)
  }

  apps(): Output<"apps"> {
    return this.#read("apps", [])
  }

  request(...input: Input<"request">): Output<"request"> {
    return this.#read("request", input)
  }

  body(...input: Input<"body">): Output<"body"> {
    return this.#read("body", input)
  }

  events(...input: Input<"events">): Output<"events"> {
    return this.#read("events", input)
  }

  positions(...input: Input<"positions">): Output<"positions"> {
    return this.#read("positions", input)
  }

  queueLength(...input: Input<"queueLength">): Output<"queueLength"> {
    return this.#read("queueLength", input)
  }

  nextDueAt(): Output<"nextDueAt"> {
    return this.#read("nextDueAt", [])
  }

  appsWithWork(): Output<"appsWithWork"> {
    return this.#read("appsWithWork", [])
  }

  sessions(): Output<"sessions"> {
    return this.#read("sessions", [])
  }

  leaseHolder(...input: Input<"leaseHolder">): Output<"leaseHolder"> {
    return this.#read("leaseHolder", input)
  }

  file(...input: Input<"file">): Output<"file"> {
    return this.#read("file", input)
  }

  upload(...input: Input<"upload">): Output<"upload"> {
    return this.#read("upload", input)
  }

  storage(...input: Input<"storage">): Output<"storage"> {
    return this.#read("storage", input)
  }

  dueDeliveries(...input: Input<"dueDeliveries">): Output<"dueDeliveries"> {
    return this.#read("dueDeliveries", input)
  }

  delivery(...input: Input<"delivery">): Output<"delivery"> {
    return this.#read("delivery", input)
  }

  deliveries(...input: Input<"deliveries">): Output<"deliveries"> {
    return this.#read("deliveries", input)
  }

  key(...input: Input<"key">): Output<"key"> {
    return this.#read("key", input)
  }

  keys(): Output<"keys"> {
    return this.#read("keys", [])
  }

  anyKey(): Output<"anyKey"> {
    return this.#read("anyKey", [])
  }

  requests(...input: Input<"requests">): Output<"requests"> {
    return this.#read("requests", input)
  }

  attempts(...input: Input<"attempts">): Output<"attempts"> {
    return this.#read("attempts", input)
  }

  unreferencedBlobs(...input: Input<"unreferencedBlobs">): Output<"unreferencedBlobs"> {
    return this.#read("unreferencedBlobs", input)
  }

  checkpoint(): Promise<void> {
    return this.#thread.checkpoint()
  }

  async close(): Promise<void> {
    // The reader first: the last connection to close folds the log into the file, and one that only reads cannot.
    if (this.#rows?.db.isOpen === true) this.#rows.db.close()
    await this.#thread.close()
  }

  #read<Name extends ReadName>(
    name: Name,
    input: Parameters<SyncReads[Name]>,
  ): Promise<ReturnType<SyncReads[Name]>> {
    if (this.#rows === null) return this.#thread.read(name, input)
    const { db, reader } = this.#rows
    if (!db.isOpen) return Promise.reject(new StoreError("closed", "The store is closed"))
    const read = reader[name].bind(reader) as (
      ...values: Parameters<SyncReads[Name]>
    ) => ReturnType<SyncReads[Name]>
    // A read that throws rejects, as it would from the thread.
    return new Promise((resolve) => resolve(read(...input)))
  }
}
