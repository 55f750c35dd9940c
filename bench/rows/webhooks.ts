import { rm } from "node:fs/promises"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { tintype } from "../contenders/tintype.ts"
import { databaseName, fill } from "../fill/fill.ts"
import { spreadOf } from "../statistics.ts"
import { atLeast, formatSpread } from "../targets.ts"
import { Receiving } from "../webhooks/receiving.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const origins = 100
const hangingCount = 10
const perSecondMin = 3_000
const shareBesideHangingMin = 0.9
const receivedWithinMs = 600_000
const listeningWithinMs = 30_000

export const webhooks: Row = {
  name: "webhooks",
  title: "Webhooks",
  about: `Deliveries that wait in the store when the server starts; it signs them, sends them and records each try. Counted at the receiver from the first to the last one, each once; the signatures of the first 200 are verified afterwards with @tintype/client, and what the store says of the deliveries is compared with what arrived.`,
  measure,
}

interface Setting {
  name: string
  origins: number
  hanging: number
}

const settings: Setting[] = [
  { name: "one fast receiver", origins: 1, hanging: 0 },
  { name: `${origins} receivers`, origins, hanging: 0 },
  { name: `${origins} receivers of which ${hangingCount} hang`, origins, hanging: hangingCount },
]

async function measure(bench: Bench): Promise<RowReport> {
  const rounds = new Map(settings.map(({ name }): [string, number[]] => [name, []]))
  for (let round = 0; round < bench.settings.rounds; round += 1) {
    for (const setting of settings) {
      const perSecond = await drain(bench, setting)
      rounds.get(setting.name)?.push(perSecond)
      bench.say(`${setting.name}: ${Math.round(perSecond)} webhooks a second`)
    }
  }
  const medians = settings.map(({ name }) => spreadOf(rounds.get(name) ?? []).median)
  const [fast = 0, all = 0, beside = 0] = medians
  const unit = "/s"
  return {
    tables: [
      {
        caption: `Webhooks a second out of ${bench.settings.deliveries.toLocaleString("en-US")}: median of the rounds (least–most)`,
        header: ["", "to those that answer"],
        rows: [...rounds].map(([name, measured]) => [name, formatSpread(measured)]),
      },
    ],
    verdicts: [
      atLeast({
        figure: "webhooks a second",
        of: "the bound",
        value: perSecondMin,
        measured: fast,
        unit,
      }),
      atLeast({
        figure: `webhooks a second beside ${hangingCount} that hang`,
        // Those that hang take their share of the deliveries with them.
        of: `${shareBesideHangingMin} × of the same receivers without`,
        value: shareBesideHangingMin * all,
        measured: beside,
        unit,
      }),
    ],
    notes: [],
  }
}

/** Webhooks a second that arrived at those that answer. */
async function drain(bench: Bench, setting: Setting): Promise<number> {
  const { deliveries } = bench.settings
  const folder = await bench.makeFolder("webhooks")
  const receiving = new Receiving(setting.origins, setting.hanging)
  try {
    const { urls } = await receiving.hear("listening", listeningWithinMs)
    await fill(bench, "deliveries", folder, [String(deliveries), ...urls])
    const answered = Math.floor(
      (deliveries * (setting.origins - setting.hanging)) / setting.origins,
    )
    receiving.tell({ kind: "expect", count: answered })
    const running = await tintype.start({ processes: bench.processes, folder })
    const { perSecond } = await receiving.hear("received", receivedWithinMs)
    const { port } = running.target
    const jwksUrl = `http://127.0.0.1:${port}/.well-known/jwks.json`
    receiving.tell({ kind: "verify", jwksUrl })
    await receiving.hear("verified", listeningWithinMs)
    await running.stop()
    checkStored(join(folder, "data", databaseName), answered)
    return perSecond
  } finally {
    receiving.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

function checkStored(path: string, answered: number): void {
  const database = new DatabaseSync(path, { readOnly: true })
  const row = database
    .prepare("SELECT count(*) AS count FROM deliveries WHERE state = 'delivered' AND tries = 1")
    .get() as { count: number }
  database.close()
  if (row.count !== answered) {
    throw new Error(`the store calls ${row.count} webhooks delivered, ${answered} arrived`)
  }
}
