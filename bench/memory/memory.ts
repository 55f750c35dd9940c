import { readFile, rm } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"

export interface ServerMemory {
  residentBytes: number
  /** Of JavaScript objects and of what they hold outside the heap. */
  heapBytes: number
}

const settleMs = 1_000
const withinMs = 60_000
const lookEveryMs = 50

/** Asks a server that has loaded `probe.ts`. */
export async function untilMemory(pid: number, path: string): Promise<ServerMemory> {
  await sleep(settleMs)
  await rm(path, { force: true })
  process.kill(pid, "SIGUSR2")
  const endsAt = performance.now() + withinMs
  while (performance.now() < endsAt) {
    const text = await readFile(path, "utf8").catch(() => null)
    if (text !== null) {
      const { rss, heap } = JSON.parse(text) as { rss: number; heap: number }
      return { residentBytes: rss, heapBytes: heap }
    }
    await sleep(lookEveryMs)
  }
  throw new Error(`process ${pid} does not tell its memory`)
}
