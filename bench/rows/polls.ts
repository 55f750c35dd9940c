import { bare } from "../contenders/bare.ts"
import type { Contender, Running } from "../contenders/contender.ts"
import { benchApps, withRunning } from "../contenders/session.ts"
import { tintype, tintypeTarget } from "../contenders/tintype.ts"
import { logLineCount } from "../load/log-line.ts"
import type { PollFigures as LoadFigures } from "../load/orders.ts"
import { spreadOf } from "../statistics.ts"
import { atLeast, format, formatSpread } from "../targets.ts"
import { complainOfLoad, formatShare, type LoadShare, measureShare } from "./load-share.ts"
import type { Bench, Row, RowReport } from "./row.ts"

type PollFigures = LoadFigures & LoadShare

const idCount = 1_000
const concurrency = 32
const submitsPerSecond = 500
const shareOfBareMin = 0.6

export const polls: Row = {
  name: "polls",
  title: "Status polls",
  about: `GET …/status?logs=1 by turns of ${idCount.toLocaleString("en-US")} finished requests with ${logLineCount} log lines each, on ${concurrency} connections, while ${submitsPerSecond} submits a second go on beside it. Bare answers the same from memory and has no submits beside it.`,
  measure,
}

async function measure(bench: Bench): Promise<RowReport> {
  const own: PollFigures[] = []
  const bares: PollFigures[] = []
  for (let round = 0; round < bench.settings.rounds; round += 1) {
    own.push(await pollOne(bench, tintype, "bench/lines"))
    bares.push(await pollOne(bench, bare, "tintype/echo"))
  }
  const bareMedian = spreadOf(bares.map(({ perSecond }) => perSecond)).median
  const bound = {
    figure: "status polls a second",
    of: `${shareOfBareMin} × bare`,
    value: shareOfBareMin * bareMedian,
    measured: spreadOf(own.map(({ perSecond }) => perSecond)).median,
    unit: "/s",
  }
  return {
    tables: [
      {
        caption: "Status polls: median of the rounds (least–most)",
        header: [
          "",
          "polls/s",
          "p50 ms",
          "p99 ms",
          "submits/s beside, by round",
          "load's share of the CPU",
        ],
        rows: [cells("tintype", own), cells("bare", bares)],
      },
    ],
    verdicts: [atLeast(bound)],
    notes: complainOfLoad([
      { name: "tintype", rounds: own },
      { name: "bare", rounds: bares },
    ]),
  }
}

function cells(name: string, rounds: PollFigures[]): string[] {
  const beside = rounds.map(({ submitsPerSecond: reached }) => reached)
  return [
    name,
    formatSpread(rounds.map(({ perSecond }) => perSecond)),
    formatSpread(rounds.map(({ p50Ms }) => p50Ms)),
    formatSpread(rounds.map(({ p99Ms }) => p99Ms)),
    beside.map((reached) => (reached === null ? "–" : format(reached))).join(", "),
    formatShare(rounds),
  ]
}

async function pollOne(bench: Bench, contender: Contender, app: string): Promise<PollFigures> {
  const { load, settings } = bench
  const flags = contender === tintype ? benchApps : []
  const measureIt = async ({ target: { port }, pids }: Running) => {
    const { ids } = await load.order("prepare", {
      target: tintypeTarget(port, app),
      count: idCount,
    })
    const order = {
      port,
      paths: ids.map((id) => `/queue/${app}/requests/${id}/status?logs=1`),
      holds: { text: '"message":', times: logLineCount },
      concurrency,
      submits:
        contender === bare ? null : { target: tintypeTarget(port), perSecond: submitsPerSecond },
    }
    await load.order("polls", { ...order, seconds: settings.warmupSeconds })
    const measured = { ...order, seconds: settings.seconds }
    return await measureShare(pids, () => load.order("polls", measured))
  }
  const figures = await withRunning(bench, contender, measureIt, { flags })
  bench.say(`${contender.name}: ${format(figures.perSecond)} polls/s`)
  return figures
}
