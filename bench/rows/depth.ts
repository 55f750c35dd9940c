import { rm } from "node:fs/promises"
import { tintype, tintypeTarget } from "../contenders/tintype.ts"
import {
  type DepthFigures,
  type OperationFigures,
  parkedApp,
  type StoreOperation,
} from "../fill/figures.ts"
import { fill } from "../fill/fill.ts"
import { residentBytesOf } from "../processes.ts"
import { spreadOf } from "../statistics.ts"
import { atMost, format, type Verdict } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const few = 1_000
const starts = 3
const growthMax = 1.5
const memoryMbMax = 400
const listeningMsMax = 3_000
const pollConcurrency = 32

export const depth: Row = {
  name: "depth",
  title: "A long queue",
  about: `The queue of one app that nobody hosts, filled by the store's own port before the server starts. Submits (c=1), status polls (c=${pollConcurrency}, their position included) go over HTTP to the server; the claim is timed on the store itself, as no caller sees it. Memory is what the server and its runner have resident after that, pages of Node's program counted twice.`,
  measure,
}

type Timed = StoreOperation | "submit over HTTP" | "status over HTTP"

interface Depth {
  queued: number
  timed: Map<Timed, OperationFigures>
  listeningMs: number
  residentMb: number
}

async function measure(bench: Bench): Promise<RowReport> {
  const short = await measureDepth(bench, few)
  const long = await measureDepth(bench, bench.settings.queuedMany)
  const names = [...short.timed.keys()]
  return {
    tables: [
      {
        caption: "Milliseconds, with so many queued",
        header: ["", `${count(short)}: p50`, "p99", `${count(long)}: p50`, "p99"],
        rows: names.map((name) => [name, ...cells(short, name), ...cells(long, name)]),
      },
      {
        caption: "The server upon such a folder",
        header: ["", "listening after, ms (median of 3)", "resident, MB"],
        rows: [short, long].map((one) => [
          count(one),
          format(one.listeningMs),
          format(one.residentMb),
        ]),
      },
    ],
    verdicts: judge(short, long),
    notes: long.queued < 1_000_000 ? ["The target is for 1,000,000; this was a quicker run."] : [],
  }
}

function cells({ timed }: Depth, name: Timed): string[] {
  const { p50Ms, p99Ms } = timed.get(name)!
  return [format(p50Ms), format(p99Ms)]
}

function count({ queued }: Depth): string {
  return queued.toLocaleString("en-US")
}

async function measureDepth(bench: Bench, queued: number): Promise<Depth> {
  const { load, settings, processes } = bench
  const folder = await bench.makeFolder("depth")
  bench.say(`filling a queue with ${queued.toLocaleString("en-US")} requests …`)
  const line = await fill(bench, "queue", folder, [String(queued)])
  const { ids, operations } = JSON.parse(line) as DepthFigures
  const listening: number[] = []
  for (let start = 1; start < starts; start += 1) {
    const started = await tintype.start({ processes, folder })
    listening.push(started.listeningMs)
    await started.crash()
  }
  const running = await tintype.start({ processes, folder })
  listening.push(running.listeningMs)
  const { port } = running.target
  const seconds = settings.seconds
  const submits = await load.order("submits", { target: tintypeTarget(port, parkedApp), seconds })
  const status = await load.order("polls", {
    port,
    paths: ids.map((id) => `/queue/${parkedApp}/requests/${id}/status`),
    holds: { text: '"queue_position":', times: 1 },
    concurrency: pollConcurrency,
    seconds,
    submits: null,
  })
  const residentMb = residentBytesOf(running.pids) / 1e6
  await running.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  const timed = new Map<Timed, OperationFigures>([
    ["submit over HTTP", submits],
    ["status over HTTP", status],
    ...(Object.entries(operations) as [StoreOperation, OperationFigures][]),
  ])
  return { queued, timed, listeningMs: spreadOf(listening).median, residentMb }
}

function judge(short: Depth, long: Depth): Verdict[] {
  const judged: Timed[] = ["submit over HTTP", "status over HTTP", "claim"]
  const growth = judged.flatMap((name) =>
    (["p50Ms", "p99Ms"] as const).map((figure) =>
      atMost({
        figure: `${name} ${figure.slice(0, 3)}, ${count(long)} queued`,
        of: `${growthMax} × with ${count(short)}`,
        value: growthMax * short.timed.get(name)![figure],
        measured: long.timed.get(name)![figure],
        unit: "ms",
      }),
    ),
  )
  const of = "the bound"
  return [
    ...growth,
    atMost({
      figure: `memory, ${count(long)} queued`,
      of,
      value: memoryMbMax,
      measured: long.residentMb,
      unit: "MB",
    }),
    atMost({
      figure: `listening after, ${count(long)} queued`,
      of,
      value: listeningMsMax,
      measured: long.listeningMs,
      unit: "ms",
    }),
  ]
}
