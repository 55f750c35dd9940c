import { rm } from "node:fs/promises"
import { join } from "node:path"
import { tintype } from "../contenders/tintype.ts"
import { untilMemory, type ServerMemory } from "../memory/memory.ts"
import type { OwnProcess } from "../processes.ts"
import { atLeast, atMost, format } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const streamCount = 10_000
const requestCount = 100
const timesBareMax = 1.3
const heapAboveMaxKb = 4
/** So many times each holds what it would hold for ever; the first round also pays for code that is compiled by it. */
const rounds = 3

export const idleStreams: Row = {
  name: "idle-streams",
  title: "Idle status streams",
  about: `${streamCount.toLocaleString("en-US")} status streams of queued requests, held open at once, on a server without a runner, against as many event streams of a bare node:http server that sends one event and then waits. Memory is measured after a full collection, before and while they are open: what is resident of the process, and its heap.`,
  measure,
}

interface Held {
  residentKb: number
  heapKb: number
  open: number
}

async function measure(bench: Bench): Promise<RowReport> {
  const own: Held[] = []
  const bare: Held[] = []
  for (let round = 0; round < rounds; round += 1) {
    own.push(await holdOwn(bench))
    bare.push(await holdBare(bench))
    const [a, b] = [own.at(-1)!, bare.at(-1)!]
    bench.say(`idle streams: ${format(a.residentKb)} KB each, bare ${format(b.residentKb)} KB`)
  }
  const least = (all: Held[], figure: keyof Held) => Math.min(...all.map((held) => held[figure]))
  const figures = { own: least(own, "residentKb"), bare: least(bare, "residentKb") }
  const heapAbove = least(own, "heapKb") - least(bare, "heapKb")
  return {
    tables: [
      {
        caption: `Kilobytes a stream, the least of ${rounds} rounds`,
        header: ["", "resident", "heap", "held open"],
        rows: [cells("tintype", own), cells("bare node:http", bare)],
      },
    ],
    verdicts: [
      atMost({
        figure: "an idle status stream, resident",
        of: `${timesBareMax} × bare`,
        value: timesBareMax * figures.bare,
        measured: figures.own,
        unit: "KB",
      }),
      atMost({
        figure: "its heap above a bare one",
        of: "the bound",
        value: heapAboveMaxKb,
        measured: heapAbove,
        unit: "KB",
      }),
      atLeast({
        figure: "idle streams held",
        of: "all",
        value: streamCount,
        measured: least(own, "open"),
        unit: "",
      }),
    ],
    notes: [],
  }

  function cells(name: string, all: Held[]): string[] {
    const cell = (figure: keyof Held) => format(least(all, figure))
    return [name, cell("residentKb"), cell("heapKb"), String(least(all, "open"))]
  }
}

/** Of one stream, between none and all of them. */
function perStream(before: ServerMemory, after: ServerMemory, open: number): Held {
  return {
    residentKb: (after.residentBytes - before.residentBytes) / streamCount / 1_024,
    heapKb: (after.heapBytes - before.heapBytes) / streamCount / 1_024,
    open,
  }
}

async function holdOwn(bench: Bench): Promise<Held> {
  const { load, processes } = bench
  const folder = await bench.makeFolder("idle")
  const memoryFile = join(folder, "memory.json")
  const running = await tintype.start({
    processes,
    folder,
    nodeFlags: probeFlags,
    env: { BENCH_MEMORY_FILE: memoryFile },
    runner: false,
  })
  const { port } = running.target
  const { ids } = await load.order("queue", { target: running.target, count: requestCount })
  const paths = ids.map((id) => `/queue/tintype/echo/requests/${id}/status/stream`)
  const held = await hold(bench, port, paths, () => untilMemory(running.pids[0]!, memoryFile))
  await running.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  return held
}

async function holdBare(bench: Bench): Promise<Held> {
  const folder = await bench.makeFolder("idle")
  const memoryFile = join(folder, "memory.json")
  const server: OwnProcess = bench.processes.start(process.execPath, {
    args: [...probeFlags, join(import.meta.dirname, "../memory/bare-streams.ts")],
    env: { BENCH_MEMORY_FILE: memoryFile },
  })
  const [, port] = await server.untilLine(/^listening (\d+)$/)
  const memory = () => untilMemory(server.pid, memoryFile)
  const held = await hold(bench, Number(port), ["/stream"], memory)
  await server.end("SIGTERM")
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  return held
}

const probeFlags = ["--expose-gc", `--import=${join(import.meta.dirname, "../memory/probe.ts")}`]

/** The first ones are opened and closed again before: what is paid once is not counted. */
async function hold(
  { load }: Bench,
  port: number,
  paths: string[],
  memory: () => Promise<ServerMemory>,
): Promise<Held> {
  await load.order("hold", { port, paths, count: streamCount / 10 })
  await load.order("release", {})
  const before = await memory()
  const { open } = await load.order("hold", { port, paths, count: streamCount })
  const after = await memory()
  await load.order("release", {})
  return perStream(before, after, open)
}
