import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from "node:fs"
import { join } from "node:path"

const pageBytes = 4_096
const tmpfsType = 0x01021994

/** Milliseconds of appending a page and flushing it, so many times: what one durable write costs on this disk at least. */
export function sampleFlushes(folder: string, count: number): number[] {
  const path = join(folder, "flush-sample")
  const file = openSync(path, "w")
  const page = Buffer.alloc(pageBytes, 1)
  try {
    return Array.from({ length: count }, () => {
      const startedAt = performance.now()
      writeSync(file, page)
      fdatasyncSync(file)
      return performance.now() - startedAt
    })
  } finally {
    closeSync(file)
    rmSync(path)
  }
}

/** A folder in memory flushes for nothing, for everyone: its numbers mean nothing. */
export function isInMemory(folder: string): boolean {
  return process.platform === "linux" && statfsSync(folder).type === tmpfsType
}
