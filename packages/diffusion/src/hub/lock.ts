import { setTimeout as wait } from "node:timers/promises"
import { hubLockPollMs } from "../limits.ts"

/** SQLITE_BUSY */
const busy = 5

/**
 * Runs the work while no other process on this machine does the same under that path. The lock is SQLite's on an empty
 * file: the system releases it with the process, however that ends, so there is no stale lock to tell from a slow one.
 */
export async function withLock<Result>(
  path: string,
  { signal, onWait }: { signal: AbortSignal; onWait: () => void },
  work: () => Promise<Result>,
): Promise<Result> {
  const { DatabaseSync } = await import("node:sqlite")
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    for (let told = false; !take(database); told = true) {
      if (!told) onWait()
      await wait(hubLockPollMs, undefined, { signal })
    }
    return await work()
  } finally {
    database.close()
  }
}

function take(database: { exec(sql: string): void }): boolean {
  try {
    database.exec("BEGIN EXCLUSIVE")
    return true
  } catch (error) {
    if (error instanceof Error && "errcode" in error && error.errcode === busy) return false
    throw error
  }
}
