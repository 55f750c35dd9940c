import { rm } from "node:fs/promises"
import type { Running } from "../contenders/contender.ts"
import { benchApps, withRunning } from "../contenders/session.ts"
import { tintype, tintypeTarget } from "../contenders/tintype.ts"
import { sampleFlushes } from "../disk.ts"
import type { PickupFigures } from "../load/orders.ts"
import { percentile } from "../statistics.ts"
import { atMost, format } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const pickupMaxMs = 1
const jobsPerSecond = 100
const flushesPerRound = 200

export const pickup: Row = {
  name: "pickup",
  title: "Pickup",
  about:
    "From the moment at which the commit of a submit returned to the first line of its app, which is in another process. Nobody outside sees that moment, so it is put between two that are seen, on the one monotonic clock of the machine: the submit's first byte was sent before (and the commit cannot return in less than a flush), its answer arrived after. The target is held against the upper bound. Both are below zero where the app starts before the caller knows of the commit.",
  measure,
}

async function measure(bench: Bench): Promise<RowReport> {
  const { settings, load } = bench
  const all: PickupFigures = { fromSubmit: [], fromAnswer: [] }
  const flushes: number[] = []
  for (let round = 0; round < settings.rounds; round += 1) {
    const folder = await bench.makeFolder("disk")
    flushes.push(...sampleFlushes(folder, flushesPerRound))
    await rm(folder, { recursive: true })
    const measureIt = async ({ target: { port } }: Running) => {
      const target = tintypeTarget(port, "bench/clock")
      await load.order("pickups", { target, count: settings.warmupSeconds * jobsPerSecond })
      return await load.order("pickups", { target, count: settings.seconds * jobsPerSecond })
    }
    const figures = await withRunning(bench, tintype, measureIt, { flags: benchApps })
    all.fromSubmit.push(...figures.fromSubmit)
    all.fromAnswer.push(...figures.fromAnswer)
  }
  const flushMs = percentile(flushes, 0.5)
  const bounds: [string, number[]][] = [
    ["at most: app starts − submit sent − one fdatasync", all.fromSubmit.map((ms) => ms - flushMs)],
    ["at least: app starts − answer to the submit arrived", all.fromAnswer],
  ]
  return {
    tables: [
      {
        caption: `Milliseconds over ${all.fromSubmit.length.toLocaleString("en-US")} jobs, one at a time`,
        header: ["", "p50", "p99"],
        rows: bounds.map(([name, samples]) => [
          name,
          percentile(samples, 0.5).toFixed(3),
          percentile(samples, 0.99).toFixed(3),
        ]),
      },
    ],
    verdicts: [
      atMost({
        figure: "pickup p50, upper bound",
        of: "the bound",
        value: pickupMaxMs,
        measured: percentile(bounds[0]![1], 0.5),
        unit: "ms",
      }),
    ],
    notes: [`fdatasync of one 4 KiB page, between the rounds: p50 ${format(flushMs)} ms.`],
  }
}
