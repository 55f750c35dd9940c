import { cpuMsOf } from "../processes.ts"

const loadShareMax = 0.35

/** What the load took of the processor beside those that it loaded; null where it cannot be told. */
export interface LoadShare {
  /** Of all that was used by both. */
  loadShare: number | null
  /** Processor time of those that were loaded. */
  servedMs: number | null
}

/** Runs a load and adds what it took beside these processes and all below them. */
export async function measureShare<Figures extends { cpuMs: number }>(
  pids: number[],
  run: () => Promise<Figures>,
): Promise<Figures & LoadShare> {
  const before = cpuMsOf(pids)
  const figures = await run()
  const after = cpuMsOf(pids)
  if (before === null || after === null) return { ...figures, loadShare: null, servedMs: null }
  const servedMs = after - before
  return { ...figures, loadShare: figures.cpuMs / (figures.cpuMs + servedMs), servedMs }
}

/** `≤ 21 %` over all rounds. */
export function formatShare(rounds: LoadShare[]): string {
  const shares = rounds.map(({ loadShare }) => loadShare)
  if (shares.includes(null)) return "not told here"
  return `≤ ${Math.round(largestShare(rounds) * 100)} %`
}

/** A sentence for the report where the load was so dear that it may have been the limit; none otherwise. */
export function complainOfLoad(all: { name: string; rounds: LoadShare[] }[]): string[] {
  const over = all.filter(({ rounds }) => largestShare(rounds) > loadShareMax)
  if (over.length === 0) return []
  const names = over.map(({ name }) => name).join(", ")
  return [`The load took more than ${loadShareMax * 100} % of the processor time beside ${names}.`]
}

function largestShare(rounds: LoadShare[]): number {
  return Math.max(...rounds.map(({ loadShare }) => loadShare ?? 0))
}
