/** Reads what `node --cpu-prof` writes. */

interface CallFrame {
  functionName: string
  url: string
  /** From 0. */
  lineNumber: number
}

/** As far as it is read. Times are microseconds on the machine's monotonic clock. */
export interface CpuProfile {
  nodes: { id: number; callFrame: CallFrame }[]
  startTime: number
  /** Id of the node that ran, at each sample. */
  samples: number[]
  /** From the sample before. */
  timeDeltas: number[]
}

export interface SelfTime {
  /** `claim (packages/server/dist/stores/sqlite/engine.js:120)` */
  name: string
  ms: number
}

/** A span of time on the clock of the profiles. */
export interface Window {
  from: number
  to: number
}

export function monotonicMicroseconds(): number {
  return Number(process.hrtime.bigint() / 1_000n)
}

/** Time within the window in each function itself, the largest first; the same name in another file is another. */
export function selfTimes(profile: CpuProfile, { from, to }: Window): SelfTime[] {
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const times = new Map<string, number>()
  let at = profile.startTime
  for (const [index, id] of profile.samples.entries()) {
    const delta = profile.timeDeltas[index] ?? 0
    at += delta
    if (at < from || at > to) continue
    const name = names.get(id) ?? "(unknown)"
    times.set(name, (times.get(name) ?? 0) + delta / 1_000)
  }
  return [...times].map(([name, ms]) => ({ name, ms })).toSorted((a, b) => b.ms - a.ms)
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const name = functionName === "" ? "(anonymous)" : functionName
  if (url === "") return name
  const place = /(?:packages|node_modules)\/.*$/.exec(url)?.[0] ?? url
  return `${name} (${place}:${lineNumber + 1})`
}
