import type { DatabaseSync, StatementSync } from "node:sqlite"
import { leftoversAt, nextDueMs, type Pruned, type PruneOrder } from "../../domain/retention.ts"
import type { EngineContext } from "./engine.ts"
import type { Writers } from "./messages.ts"
import { fromLeftovers, toLeftovers } from "./rows.ts"

/** Log lines that are removed between two looks at the clock: a request may have thousands. */
const eventsAtOnce = 128

/** An ended request of which something is due. */
interface DueRequest {
  sequence: number
  kept: number
  finished_at: number
}

/** Writes that remove what is past its retention. */
export function pruningWriters(
  db: DatabaseSync,
  { now, monotonic }: EngineContext,
): Pick<Writers, "prune"> {
  const statements = prepare(db)
  return { prune: (order) => new Slice(statements, order, { now: now(), monotonic }).run() }
}

/** Exported for a test that reads their plans: none may walk over a table. */
export const pruningSql = {
  // From one value of `kept` to the next, so that finding them all takes one step each.
  nextKept: `
    SELECT min(kept) AS kept FROM requests INDEXED BY requests_kept
    WHERE finished_at IS NOT NULL AND owed = 0 AND kept > ?`,
  due: `
    SELECT sequence, kept, finished_at FROM requests INDEXED BY requests_kept
    WHERE finished_at IS NOT NULL AND owed = 0 AND kept = ? AND finished_at <= ?
    ORDER BY finished_at, sequence LIMIT ?`,
  deleteEvents: `
    DELETE FROM events WHERE sequence = ?1 AND (attempt, seq, source) IN (
      SELECT attempt, seq, source FROM events WHERE sequence = ?1 LIMIT ${eventsAtOnce})`,
  // What belongs to it goes by its foreign keys.
  deleteRequest: "DELETE FROM requests WHERE sequence = ?",
  deleteInput: "DELETE FROM inputs WHERE sequence = ? RETURNING blob",
  deleteOutput: "DELETE FROM outputs WHERE sequence = ? RETURNING blob",
  keep: "UPDATE requests SET kept = ? WHERE sequence = ?",
  dueFiles: `
    SELECT name FROM files WHERE expires_at IS NOT NULL AND expires_at <= ?
    ORDER BY expires_at, name LIMIT ?`,
  fileBlobs: "SELECT blob FROM file_blobs WHERE file = ?",
  deleteFile: "DELETE FROM files WHERE name = ?",
  dueUploads:
    "SELECT file AS name FROM uploads WHERE expires_at <= ? ORDER BY expires_at, file LIMIT ?",
  uploadBlobs: "SELECT blob FROM upload_parts WHERE file = ?",
  deleteUpload: "DELETE FROM uploads WHERE file = ?",
  isNamed: `
    SELECT 1 FROM inputs WHERE blob = ?1 UNION ALL SELECT 1 FROM outputs WHERE blob = ?1
    UNION ALL SELECT 1 FROM file_blobs WHERE blob = ?1
    UNION ALL SELECT 1 FROM upload_parts WHERE blob = ?1 LIMIT 1`,
}

type Statements = Record<keyof typeof pruningSql, StatementSync>

function prepare(db: DatabaseSync): Statements {
  const entries = Object.entries(pruningSql).map(([name, sql]) => [name, db.prepare(sql)] as const)
  return Object.fromEntries(entries) as Statements
}

/** One slice: what it has removed, and whether it may go on. */
class Slice {
  readonly #statements: Statements
  readonly #order: PruneOrder
  readonly #now: number
  readonly #monotonic: () => number
  readonly #deadline: number
  readonly #removed = { requests: 0, inputs: 0, results: 0, files: 0, uploads: 0 }
  readonly #blobs: string[] = []
  #rows = 0

  constructor(
    statements: Statements,
    order: PruneOrder,
    { now, monotonic }: { now: number; monotonic: () => number },
  ) {
    this.#statements = statements
    // Of no row nothing would come, for ever.
    this.#order = { ...order, rowsMax: Math.max(1, order.rowsMax) }
    this.#now = now
    this.#monotonic = monotonic
    this.#deadline = monotonic() + order.budgetMs
  }

  run(): Pruned {
    // In this order, and not if the one before was cut short.
    const isDone = this.#pruneRequests() && this.#pruneFiles() && this.#pruneUploads()
    return { ...this.#removed, blobs: this.#blobs, more: !isDone }
  }

  /** Does at least one row, whatever the clock says: a slice that does nothing would be made again for ever. */
  #mayGoOn(): boolean {
    if (this.#rows === 0) return true
    return this.#rows < this.#order.rowsMax && this.#monotonic() < this.#deadline
  }

  /** True when nothing of it is left. */
  #pruneRequests(): boolean {
    const due = this.#dueRequests()
    for (const request of due) {
      if (!this.#mayGoOn() || !this.#pruneRequest(request)) return false
    }
    return due.length < this.#order.rowsMax
  }

  /** The oldest of each kind, and of these the oldest. */
  #dueRequests(): DueRequest[] {
    const { policy, rowsMax } = this.#order
    const due: DueRequest[] = []
    for (let kept = this.#nextKept(-1); kept !== null; kept = this.#nextKept(kept)) {
      const ageMs = nextDueMs(toLeftovers(kept), policy)
      if (ageMs === Infinity) continue
      const rows = this.#statements.due.all(kept, this.#now - ageMs, rowsMax)
      due.push(...(rows as unknown as DueRequest[]))
    }
    due.sort((a, b) => a.finished_at - b.finished_at || a.sequence - b.sequence)
    return due.slice(0, rowsMax)
  }

  #nextKept(kept: number): number | null {
    const next = this.#statements.nextKept.get(kept)?.["kept"]
    return typeof next === "number" ? next : null
  }

  /** False when the slice is over before the request is done. */
  #pruneRequest({ sequence, kept, finished_at: finishedAt }: DueRequest): boolean {
    const before = toLeftovers(kept)
    const after = leftoversAt(before, this.#now - finishedAt, this.#order.policy)
    if (after === null) {
      if (!this.#deleteEvents(sequence)) return false
      this.#deleteBody("deleteInput", sequence)
      this.#deleteBody("deleteOutput", sequence)
      this.#statements.deleteRequest.run(sequence)
      this.#removed.requests += 1
    } else {
      if (before.input && !after.input) {
        this.#removed.inputs += this.#deleteBody("deleteInput", sequence)
      }
      if (before.result && !after.result) {
        this.#removed.results += this.#deleteBody("deleteOutput", sequence)
      }
      this.#statements.keep.run(fromLeftovers(after), sequence)
    }
    this.#rows += 1
    return true
  }

  #deleteEvents(sequence: number): boolean {
    for (;;) {
      const { changes } = this.#statements.deleteEvents.run(sequence)
      if (Number(changes) < eventsAtOnce) return true
      this.#rows += 1
      if (!this.#mayGoOn()) return false
    }
  }

  /** Answers how many there were. */
  #deleteBody(statement: "deleteInput" | "deleteOutput", sequence: number): number {
    const row = this.#statements[statement].get(sequence)
    if (typeof row?.["blob"] === "string") this.#release(row["blob"])
    return row === undefined ? 0 : 1
  }

  /** After the row that named it is gone. */
  #release(blob: string): void {
    if (this.#statements.isNamed.get(blob) === undefined) this.#blobs.push(blob)
  }

  #pruneFiles(): boolean {
    const { dueFiles, fileBlobs, deleteFile } = this.#statements
    return this.#pruneStored("files", { due: dueFiles, blobs: fileBlobs, remove: deleteFile })
  }

  #pruneUploads(): boolean {
    const { dueUploads, uploadBlobs, deleteUpload } = this.#statements
    const statements = { due: dueUploads, blobs: uploadBlobs, remove: deleteUpload }
    return this.#pruneStored("uploads", statements)
  }

  /** True when nothing of it is left. The rows of its blobs go with its own. */
  #pruneStored(
    kind: "files" | "uploads",
    { due, blobs, remove }: Record<"due" | "blobs" | "remove", StatementSync>,
  ): boolean {
    const { rowsMax } = this.#order
    const rows = due.all(this.#now, rowsMax)
    for (const row of rows) {
      if (!this.#mayGoOn()) return false
      const name = String(row["name"])
      const named = blobs.all(name)
      remove.run(name)
      for (const { blob } of named) this.#release(String(blob))
      this.#removed[kind] += 1
      this.#rows += Math.max(1, named.length)
    }
    return rows.length < rowsMax
  }
}
