import { readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { tintype } from "../contenders/tintype.ts"
import { residentBytesOf } from "../processes.ts"
import { spreadOf } from "../statistics.ts"
import { atMost, format, formatSpread } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const starts = 3
const listeningMsMax = 1_000
const residentMbMax = 180
/** The garbage of the start is collected within this. */
const settleMs = 3_000
const requestCount = 10_000

export const footprint: Row = {
  name: "footprint",
  title: "Footprint",
  about: `The built output on an empty folder. Listening: from the spawn to the first answer, files in the page cache. Memory: resident in the server and its idle runner ${settleMs / 1_000} s later, pages of Node's program counted twice. Disk: what ${requestCount.toLocaleString("en-US")} finished requests with bodies of 73 bytes left in the data folder after a stop in good order.`,
  measure,
}

async function measure(bench: Bench): Promise<RowReport> {
  const { processes, load } = bench
  const listening: number[] = []
  const resident: number[] = []
  let bytesARequest = Number.NaN
  // The first start warms the page cache.
  for (let start = 0; start <= starts; start += 1) {
    const folder = await bench.makeFolder("footprint")
    const running = await tintype.start({ processes, folder })
    if (start > 0) {
      listening.push(running.listeningMs)
      await sleep(settleMs)
      resident.push(residentBytesOf(running.pids) / 1e6)
    }
    if (start === starts) {
      const data = join(folder, "data")
      const before = await bytesIn(data)
      await load.order("prepare", { target: running.target, count: requestCount })
      await running.stop()
      bytesARequest = ((await bytesIn(data)) - before) / requestCount
    } else await running.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  const of = "the bound"
  return {
    tables: [
      {
        caption: `Median of ${starts} starts (least–most)`,
        header: ["listening after, ms", "resident, MB", "bytes on disk a request"],
        rows: [[formatSpread(listening), formatSpread(resident), format(bytesARequest)]],
      },
    ],
    verdicts: [
      atMost({
        figure: "listening after",
        of,
        value: listeningMsMax,
        measured: spreadOf(listening).median,
        unit: "ms",
      }),
      atMost({
        figure: "idle server and runner",
        of,
        value: residentMbMax,
        measured: spreadOf(resident).median,
        unit: "MB",
      }),
    ],
    notes: [],
  }
}

async function bytesIn(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  const sizes = await Promise.all(files.map(({ parentPath, name }) => stat(join(parentPath, name))))
  return sizes.reduce((sum, { size }) => sum + size, 0)
}
