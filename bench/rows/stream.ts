import { benchApps, withRunning } from "../contenders/session.ts"
import { tintype } from "../contenders/tintype.ts"
import { spreadOf } from "../statistics.ts"
import { format, formatSpread } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const path = "/run/bench/steps/stream"
const callsPerSecond = 50

export const stream: Row = {
  name: "stream",
  title: "First stream chunk",
  about: `POST ${path}, one after another on one connection: from the first byte of the call to its first event, which the app emits at once, and to the last one, its answer. The durable record of the request is included.`,
  measure,
}

async function measure(bench: Bench): Promise<RowReport> {
  const { load, settings } = bench
  const rounds: { firstMs: number; lastMs: number }[] = []
  for (let round = 0; round < settings.rounds; round += 1) {
    const figures = await withRunning(
      bench,
      tintype,
      async ({ target: { port } }) => {
        const warm = settings.warmupSeconds * callsPerSecond
        await load.order("streams", { port, path, count: warm })
        return await load.order("streams", { port, path, count: settings.seconds * callsPerSecond })
      },
      { flags: benchApps },
    )
    bench.say(`tintype: first chunk p50 ${format(figures.firstP50Ms)} ms`)
    rounds.push({ firstMs: figures.firstP50Ms, lastMs: figures.lastP50Ms })
  }
  const first = rounds.map(({ firstMs }) => firstMs)
  const last = rounds.map(({ lastMs }) => lastMs)
  return {
    tables: [
      {
        caption: "Milliseconds, p50: median of the rounds (least–most)",
        header: ["", "first event", "last event"],
        rows: [["tintype", formatSpread(first), formatSpread(last)]],
      },
    ],
    verdicts: [],
    notes: [
      `From the first event to the last: ${format(spreadOf(last).median - spreadOf(first).median)} ms.`,
    ],
  }
}
