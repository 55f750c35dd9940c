import { rm } from "node:fs/promises"
import { bare } from "../contenders/bare.ts"
import type { Contender } from "../contenders/contender.ts"
import { withRunning } from "../contenders/session.ts"
import { tintype } from "../contenders/tintype.ts"
import { sampleFlushes } from "../disk.ts"
import type { JobFigures } from "../load/orders.ts"
import { percentile, spreadOf } from "../statistics.ts"
import { atMost, format, formatSpread } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const path = "/run/tintype/echo"
const p99MaxMs = 5
/** The same as for a job through the queue. */
const allowanceMs = 0.35
const flushesPerRound = 200

export const syncRun: Row = {
  name: "run",
  title: "Overhead of a synchronous run",
  about: `POST ${path}, one after another on one connection, its durable record included. The app answers with the bytes that it was given, so all of what is measured is overhead. Bare is the same POST to the gateway with nothing behind it.`,
  measure,
}

async function measure(bench: Bench): Promise<RowReport> {
  const own: JobFigures[] = []
  const bares: JobFigures[] = []
  const flushes: number[] = []
  for (let round = 0; round < bench.settings.rounds; round += 1) {
    const folder = await bench.makeFolder("disk")
    flushes.push(...sampleFlushes(folder, flushesPerRound))
    await rm(folder, { recursive: true })
    own.push(await callOne(bench, tintype))
    bares.push(await callOne(bench, bare))
  }
  const flushMs = percentile(flushes, 0.5)
  return {
    tables: [
      {
        caption: "Milliseconds, c=1: median of the rounds (least–most)",
        header: ["", "p50", "p99"],
        rows: [cells("tintype", own), cells("bare", bares)],
      },
    ],
    verdicts: [
      atMost({
        figure: "sync run p50, c=1",
        of: `bare + 2 × fdatasync + ${allowanceMs} ms`,
        value: median(bares, "p50Ms") + 2 * flushMs + allowanceMs,
        measured: median(own, "p50Ms"),
        unit: "ms",
      }),
      atMost({
        figure: "sync run p99, c=1",
        of: "the bound",
        value: p99MaxMs,
        measured: median(own, "p99Ms"),
        unit: "ms",
      }),
    ],
    notes: [`fdatasync of one 4 KiB page, between the rounds: p50 ${format(flushMs)} ms.`],
  }
}

function median(rounds: JobFigures[], figure: "p50Ms" | "p99Ms"): number {
  return spreadOf(rounds.map((round) => round[figure])).median
}

function cells(name: string, rounds: JobFigures[]): string[] {
  return [
    name,
    formatSpread(rounds.map(({ p50Ms }) => p50Ms)),
    formatSpread(rounds.map(({ p99Ms }) => p99Ms)),
  ]
}

async function callOne(bench: Bench, contender: Contender): Promise<JobFigures> {
  const { load, settings } = bench
  const figures = await withRunning(bench, contender, async ({ target: { port } }) => {
    const order = { port, path, concurrency: 1 }
    await load.order("calls", { ...order, seconds: settings.warmupSeconds })
    return await load.order("calls", { ...order, seconds: settings.seconds })
  })
  bench.say(`${contender.name}: run p50 ${format(figures.p50Ms)} ms`)
  return figures
}
