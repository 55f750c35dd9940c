import { percentile } from "../statistics.ts"
import { Connection } from "./connection.ts"
import type { JobFigures } from "./orders.ts"

/** What every kind of load has in common: connections, a time, and one figure for each exchange. */

export async function openConnections(port: number, count: number): Promise<Connection[]> {
  return await Promise.all(Array.from({ length: count }, () => Connection.open(port)))
}

/** Repeats `exchange` on every connection until the time is over; it resolves to the milliseconds that it took. */
export async function repeat(
  connections: Connection[],
  seconds: number,
  exchange: (connection: Connection) => Promise<number>,
): Promise<JobFigures> {
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  const endsAt = startedAt + seconds * 1_000
  const durations: number[] = []
  const work = async (connection: Connection) => {
    while (performance.now() < endsAt) durations.push(await exchange(connection))
  }
  await Promise.all(connections.map(work))
  const elapsedMs = performance.now() - startedAt
  const cpu = process.cpuUsage(cpuBefore)
  return {
    jobs: durations.length,
    perSecond: durations.length / (elapsedMs / 1_000),
    p50Ms: percentile(durations, 0.5),
    p99Ms: percentile(durations, 0.99),
    cpuMs: (cpu.user + cpu.system) / 1_000,
  }
}

const beatMs = 10

/** Calls `send` so many times a second, in small lots, until the returned function is called; that tells how often. */
export function keepPace(perSecond: number, send: () => void): () => number {
  const startedAt = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) / 1_000) * perSecond)
    for (; sent < due; sent += 1) send()
  }, beatMs)
  return () => {
    clearInterval(timer)
    return sent / ((performance.now() - startedAt) / 1_000)
  }
}
