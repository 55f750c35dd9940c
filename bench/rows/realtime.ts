import { benchApps, withRunning } from "../contenders/session.ts"
import { tintype } from "../contenders/tintype.ts"
import { spreadOf } from "../statistics.ts"
import { atMost, format, formatSpread } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const path = "/run/bench/turn/realtime"
const turnsPerSecond = 100
const addedMaxMs = 5

export const realtime: Row = {
  name: "realtime",
  title: "Realtime round trip",
  about: `One WebSocket at ${path}, one message after another: from the send to the answer of an app that answers at once, so all of what is measured is added by the product.`,
  measure,
}

async function measure(bench: Bench): Promise<RowReport> {
  const { load, settings } = bench
  const rounds: { p50Ms: number; p99Ms: number }[] = []
  for (let round = 0; round < settings.rounds; round += 1) {
    const figures = await withRunning(
      bench,
      tintype,
      async ({ target: { port } }) => {
        await load.order("turns", { port, path, count: settings.warmupSeconds * turnsPerSecond })
        return await load.order("turns", { port, path, count: settings.seconds * turnsPerSecond })
      },
      { flags: benchApps },
    )
    bench.say(`tintype: realtime p50 ${format(figures.p50Ms)} ms`)
    rounds.push(figures)
  }
  const p50 = rounds.map(({ p50Ms }) => p50Ms)
  return {
    tables: [
      {
        caption: "Milliseconds: median of the rounds (least–most)",
        header: ["", "p50", "p99"],
        rows: [["tintype", formatSpread(p50), formatSpread(rounds.map(({ p99Ms }) => p99Ms))]],
      },
    ],
    verdicts: [
      atMost({
        figure: "realtime adds, p50",
        of: "the bound",
        value: addedMaxMs,
        measured: spreadOf(p50).median,
        unit: "ms",
      }),
    ],
    notes: [],
  }
}
