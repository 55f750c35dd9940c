import { afterEach, describe, expect, it } from "vitest"
import { makeDataFolder, removeDataFolder } from "../server-process.ts"
import { audit } from "./audit.ts"
import { runDrill, type Drill, type Kill, type KillKind } from "./kill-drill.ts"
import { until } from "./probe-calls.ts"
import { identityPidOf, killProcessesOf, processesOf, runnersOf } from "./processes.ts"
import { chooseSeed, seededRandom } from "./randomness.ts"
import { recordResult } from "../reliability/results.ts"
import { readRequestRows, type RequestRow } from "./request-rows.ts"

export interface KillCounts {
  load: number
  start: number
  checkpoint: number
}

const submitsPerSecond = 320
const submitsPerSecondMin = 200

/** The crash promise, with as many kills as there is time for. */
export function killSuite(counts: KillCounts, timeoutMs: number): void {
  const total = counts.load + counts.start + counts.checkpoint
  let data: string | null = null

  afterEach(async () => {
    if (data === null) return
    await killProcessesOf(data)
    await removeDataFolder(data)
  })

  describe(`${total} kills -9 of the server under load`, () => {
    it(
      "lose nothing that was acknowledged, and end each of it once",
      async () => {
        data = await makeDataFolder()
        const random = seededRandom(chooseSeed("kills"))
        const kinds = shuffle(counts, random)
        const drill = await runDrill({ data, kinds, random, submitsPerSecond, onKill: tell })
        report(drill)
        const { load, watch, last, kills } = drill
        const hits = (kind: KillKind) => kills.filter((one) => one.counts && one.kind === kind)
        expect(hits("load")).toHaveLength(counts.load)
        expect(hits("start")).toHaveLength(counts.start)
        expect(hits("checkpoint")).toHaveLength(counts.checkpoint)
        const rate = (load.acknowledged.length * 1_000) / load.aimedMs
        expect(rate).toBeGreaterThanOrEqual(submitsPerSecondMin)
        expect(load.refused).toEqual([])
        expect(watch.seen.length).toBeGreaterThan(total)
        const ids = load.acknowledged.map(({ id }) => id)
        expect(new Set(ids).size).toBe(ids.length)

        expect(await audit(last.url, load.acknowledged, { deadlineMs: 60_000 })).toEqual([])
        expect(await watch.recheck(last.url)).toEqual([])
        // Those too whose acknowledgement was cut off.
        const open = () => readRequestRows(data!).filter(({ finishedAt }) => finishedAt === null)
        await until("every request is terminal", async () => open().length === 0)
        const rows = new Map(readRequestRows(data).map((row) => [row.id, row]))
        expect(ids.filter((id) => !rows.has(id))).toEqual([])
        expect(tooManyAttempts([...rows.values()], kills)).toEqual([])
        console.log(`requests by attempts: ${JSON.stringify(countAttempts([...rows.values()]))}`)
        await expectOneRunner(data, last.child.pid!)
        expect(await last.kill("SIGTERM")).toBe(0)
        expect(await processesOf(data)).toEqual([])
        const { length: acknowledged } = load.acknowledged
        recordResult("kills", { kills: kills.length, acknowledged, seen: watch.seen.length })
      },
      timeoutMs,
    )
  })
}

/** Each kill that lay between submit and finish may cost an attempt, nothing else may. */
export function tooManyAttempts(rows: RequestRow[], kills: Kill[]): string[] {
  return rows.flatMap(({ id, attempts, submittedAt, finishedAt }) => {
    const end = finishedAt ?? Number.POSITIVE_INFINITY
    const hits = kills.filter(({ from, to }) => submittedAt <= to && end >= from).length
    return attempts <= 1 + hits ? [] : [`${id}: ${attempts} attempts, ${hits} kills`]
  })
}

function countAttempts(rows: RequestRow[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const { attempts } of rows) counts[attempts] = (counts[attempts] ?? 0) + 1
  return counts
}

async function expectOneRunner(data: string, serverPid: number): Promise<void> {
  const runners = await runnersOf(data)
  expect(runners).toHaveLength(1)
  expect(await identityPidOf(runners[0]!)).toBe(runners[0]!.pid)
  const all = (await processesOf(data)).map(({ pid }) => pid)
  expect(new Set(all)).toEqual(new Set([serverPid, runners[0]!.pid]))
}

function shuffle(counts: KillCounts, random: () => number): KillKind[] {
  const kinds = (Object.keys(counts) as KillKind[]).flatMap((kind) =>
    Array.from({ length: counts[kind] }, () => ({ kind, place: random() })),
  )
  return kinds.toSorted((a, b) => a.place - b.place).map(({ kind }) => kind)
}

function tell({ kind, counts, detail }: Kill): void {
  console.log(`kill: ${kind}${counts ? "" : " (missed)"}, ${detail}`)
}

function report({ load, watch }: Drill): void {
  const rate = (load.acknowledged.length * 1_000) / load.aimedMs
  console.log(
    `${load.acknowledged.length} acknowledged, ${rate.toFixed(0)} a second; ` +
      `${watch.seen.length} results seen while it was killed`,
  )
}
