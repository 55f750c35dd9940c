import { resolve } from "node:path"
import { parseArgs } from "node:util"
import type { BenchSettings } from "./rows/row.ts"

export interface BenchFlags {
  settings: BenchSettings
  /** Null: all of them. */
  rows: string[] | null
  profile: boolean
  /** Where the report goes; null: it is only printed. */
  report: string | null
}

const reportPath = resolve(import.meta.dirname, "../docs/reference/benchmarks.md")
const full: BenchSettings = {
  rounds: 5,
  seconds: 5,
  warmupSeconds: 3,
  queuedMany: 1_000_000,
  deliveries: 30_000,
}
const quick: BenchSettings = {
  rounds: 1,
  seconds: 2,
  warmupSeconds: 1,
  queuedMany: 20_000,
  deliveries: 1_000,
}

export const usage = `npm run bench [-- flags]

  --rows a,b      only these rows
  --rounds n      rounds of each measurement (${full.rounds})
  --seconds n     length of each measurement (${full.seconds})
  --quick         one short round, printed only: to see that all of it runs
  --profile       CPU profiles of the product's server into bench/profiles, and nothing else
  --report path   where the report goes; of a full run it is docs/reference/benchmarks.md`

/** Throws an `Error` whose message is for the person who typed. */
export function parseFlags(argv: string[]): BenchFlags {
  const { values } = parseArgs({
    args: argv,
    options: {
      rows: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
      report: { type: "string" },
    },
  })
  const base = values.quick ? quick : full
  return {
    settings: {
      ...base,
      rounds: countOf("rounds", values.rounds) ?? base.rounds,
      seconds: countOf("seconds", values.seconds) ?? base.seconds,
    },
    rows: values.rows?.split(",") ?? null,
    profile: values.profile,
    // A part of it must not take the place of the whole.
    report: values.report ?? (values.quick || values.rows !== undefined ? null : reportPath),
  }
}

function countOf(name: string, text: string | undefined): number | null {
  if (text === undefined) return null
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  throw new Error(`--${name} takes a whole number from 1 to 9999, not ${JSON.stringify(text)}`)
}
