import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

/** What the store's file says about a request; times are epoch milliseconds. */
export interface RequestRow {
  id: string
  state: string
  door: string
  attempts: number
  attemptsCounted: number
  submittedAt: number
  finishedAt: number | null
}

/** Reads the requests of a data folder, read-only and beside whatever else has it open. */
export function readRequestRows(data: string): RequestRow[] {
  const db = new DatabaseSync(join(data, "tintype.sqlite"), { readOnly: true, timeout: 5_000 })
  try {
    return db
      .prepare(
        `SELECT id, state, door, attempts, attempts_counted AS attemptsCounted,
           submitted_at AS submittedAt, finished_at AS finishedAt FROM requests`,
      )
      .all() as unknown as RequestRow[]
  } finally {
    db.close()
  }
}

export function countRunning(data: string): number {
  const db = new DatabaseSync(join(data, "tintype.sqlite"), { readOnly: true, timeout: 5_000 })
  try {
    const row = db.prepare("SELECT count(*) AS n FROM requests WHERE state = 'running'").get()
    return Number(row?.["n"])
  } finally {
    db.close()
  }
}
