import { rm } from "node:fs/promises"
import type { Contender, ContenderName, Running } from "../contenders/contender.ts"
import { sampleFlushes } from "../disk.ts"
import type { JobFigures, StoredCount } from "../load/orders.ts"
import { percentile, spreadOf } from "../statistics.ts"
import { atLeast, atMost, format, formatSpread, type Verdict } from "../targets.ts"
import { complainOfLoad, formatShare, type LoadShare, measureShare } from "./load-share.ts"
import type { Bench, Row, RowReport, Table } from "./row.ts"

const concurrencies = [1, 32, 128] as const
const warmupConcurrency = 32
const flushesPerRound = 200

export const jobs: Row = {
  name: "jobs",
  title: "Durable jobs",
  about: `A job is a request over HTTP: POST submits and is answered when the queue has acknowledged it, another process answers with its input, GET on the same connection waits for the result, whose body is compared byte by byte. Each round starts everyone anew on an empty folder, one after the other, in an order that moves on by one from round to round; after it the servers are killed and started again, and every acknowledged job is asked for.`,
  measure,
}

type Round = JobFigures & LoadShare

/** Of one contender, by round. */
interface Measured {
  contender: Contender
  rounds: Map<number, Round[]>
  stored: StoredCount
}

async function measure(bench: Bench): Promise<RowReport> {
  const { settings, contenders } = bench
  const all = contenders.map((contender): Measured => ({
    contender,
    rounds: new Map(concurrencies.map((concurrency) => [concurrency, []])),
    stored: { acknowledged: 0, found: 0 },
  }))
  const flushes: number[] = []
  for (let round = 0; round < settings.rounds; round += 1) {
    flushes.push(...(await sampleDisk(bench)))
    for (let turn = 0; turn < all.length; turn += 1) {
      await measureOne(bench, all[(round + turn) % all.length]!, round)
    }
  }
  const flushMs = percentile(flushes, 0.5)
  return {
    tables: [throughputTable(all), latencyTable(all), costTable(all)],
    verdicts: judge(all, flushMs),
    notes: [
      `fdatasync of one 4 KiB page on the same disk, between the rounds: p50 ${format(flushMs)} ms, p99 ${format(percentile(flushes, 0.99))} ms.`,
      ...complaints(all),
    ],
  }
}

async function sampleDisk(bench: Bench): Promise<number[]> {
  const folder = await bench.makeFolder("disk")
  const samples = sampleFlushes(folder, flushesPerRound)
  await rm(folder, { recursive: true })
  return samples
}

async function measureOne(bench: Bench, measured: Measured, round: number): Promise<void> {
  const { contender, rounds, stored } = measured
  const { load, settings, processes } = bench
  const folder = await bench.makeFolder(`jobs-${round}`)
  const batch = `${contender.name} ${round}`
  const running = await contender.start({ processes, folder })
  const { target } = running
  const seconds = settings.warmupSeconds
  await load.order("jobs", { target, concurrency: warmupConcurrency, seconds, batch })
  const said: string[] = []
  for (const concurrency of concurrencies) {
    const figures = await loadWith(bench, running, concurrency, batch)
    rounds.get(concurrency)?.push(figures)
    said.push(`c=${concurrency} ${format(figures.perSecond)}/s p50 ${format(figures.p50Ms)} ms`)
  }
  await running.crash()
  if (contender.stores) {
    const again = await contender.start({ processes, folder })
    const { acknowledged, found } = await load.order("count", { target: again.target, batch })
    await again.stop()
    stored.acknowledged += acknowledged
    stored.found += found
    said.push(`${found} of ${acknowledged} there after the crash`)
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  bench.say(`round ${round + 1}, ${contender.name}: ${said.join(", ")}`)
}

async function loadWith(
  { load, settings }: Bench,
  { target, pids }: Running,
  concurrency: number,
  batch: string,
): Promise<Round> {
  const order = { target, concurrency, seconds: settings.seconds, batch }
  return await measureShare(pids, () => load.order("jobs", order))
}

type Figure = "perSecond" | "p50Ms" | "p99Ms"

function roundsOf(measured: Measured, concurrency: number, figure: Figure): number[] {
  return (measured.rounds.get(concurrency) ?? []).map((round) => round[figure])
}

function medianOf(measured: Measured, concurrency: number, figure: Figure): number {
  return spreadOf(roundsOf(measured, concurrency, figure)).median
}

function cell(measured: Measured, concurrency: number, figure: Figure): string {
  return formatSpread(roundsOf(measured, concurrency, figure))
}

function throughputTable(all: Measured[]): Table {
  const own = find(all, "tintype")
  return {
    caption: "Jobs a second: median of the rounds (least–most)",
    header: ["", ...concurrencies.map((concurrency) => `c=${concurrency}`), "tintype, c=128"],
    rows: all.map((measured) => {
      const cells = concurrencies.map((concurrency) => cell(measured, concurrency, "perSecond"))
      const ratio =
        own === undefined
          ? null
          : medianOf(own, 128, "perSecond") / medianOf(measured, 128, "perSecond")
      return [measured.contender.name, ...cells, ratio === null ? "" : `× ${ratio.toFixed(2)}`]
    }),
  }
}

function latencyTable(all: Measured[]): Table {
  return {
    caption: "From the submit to the result, in milliseconds",
    header: ["", ...concurrencies.flatMap((one) => [`c=${one} p50`, `c=${one} p99`])],
    rows: all.map((measured) => [
      measured.contender.name,
      ...concurrencies.flatMap((concurrency) => [
        cell(measured, concurrency, "p50Ms"),
        cell(measured, concurrency, "p99Ms"),
      ]),
    ]),
  }
}

function costTable(all: Measured[]): Table {
  return {
    caption: "What it took, and what a crash left",
    header: ["", "CPU a job, c=128", "load's share of the CPU", "acknowledged", "there after"],
    rows: all.map(({ contender, rounds, stored }) => {
      const busiest = rounds.get(128) ?? []
      const cpu = busiest.map(({ servedMs, jobs: done }) => (servedMs ?? Number.NaN) / done)
      return [
        contender.name,
        `${format(spreadOf(cpu).median)} ms`,
        formatShare([...rounds.values()].flat()),
        contender.stores ? stored.acknowledged.toLocaleString("en-US") : "–",
        contender.stores ? stored.found.toLocaleString("en-US") : "–",
      ]
    }),
  }
}

function complaints(all: Measured[]): string[] {
  const own = find(all, "tintype")
  const lost = own === undefined ? 0 : own.stored.acknowledged - own.stored.found
  return [
    ...complainOfLoad(
      all.map(({ contender, rounds }) => ({
        name: contender.name,
        rounds: [...rounds.values()].flat(),
      })),
    ),
    ...(lost === 0 ? [] : [`tintype LOST ${lost} acknowledged jobs.`]),
  ]
}

function find(all: Measured[], name: ContenderName): Measured | undefined {
  return all.find(({ contender }) => contender.name === name)
}

const throughputTargets: [ContenderName, number][] = [
  ["BullMQ, appendfsync always", 3.3],
  ["BullMQ, no persistence", 1.9],
  ["graphile-worker", 8],
  ["bare", 0.6],
]

/** Fixed cost that a durable request may have above the HTTP of it and its two flushes. */
const latencyAllowanceMs = 0.35

function judge(all: Measured[], flushMs: number): Verdict[] {
  const own = find(all, "tintype")
  if (own === undefined) return []
  const perSecond = medianOf(own, 128, "perSecond")
  const verdicts = throughputTargets.flatMap(([name, factor]) => {
    const peer = find(all, name)
    if (peer === undefined) return []
    const value = factor * medianOf(peer, 128, "perSecond")
    const bound = { of: `${factor} × ${name}`, value, measured: perSecond, unit: "/s" }
    return [atLeast({ figure: "durable jobs a second, c=128", ...bound })]
  })
  const figure = "submit to result p50, c=1"
  const measured = medianOf(own, 1, "p50Ms")
  const bare = find(all, "bare")
  if (bare !== undefined) {
    const value = medianOf(bare, 1, "p50Ms") + 2 * flushMs + latencyAllowanceMs
    const of = `bare + 2 × fdatasync + ${latencyAllowanceMs} ms`
    verdicts.push(atMost({ figure, of, value, measured, unit: "ms" }))
  }
  for (const peer of all) {
    if (peer === own || peer === bare) continue
    const value = medianOf(peer, 1, "p50Ms")
    verdicts.push(atMost({ figure, of: peer.contender.name, value, measured, unit: "ms" }))
  }
  return verdicts
}
