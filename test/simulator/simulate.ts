import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { recordResult } from "../reliability/results.ts"
import { runSchedules } from "./crew.ts"
import { plants } from "./plants.ts"
import { simulate } from "./simulation.ts"

/**
 * `npm run simulate -- --schedules 100000 --seed 7`: runs the schedules of these seeds and prints the seeds that break a
 * promise. `--trace` runs the first seed alone and prints all that happens in it; `--plant NAME` plants a defect.
 */
const { values } = parseArgs({
  options: {
    schedules: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    threads: { type: "string", default: String(availableParallelism()) },
    plant: { type: "string" },
    trace: { type: "boolean", default: false },
  },
})
const seed = wholeNumber("seed", values.seed)
const { plant } = values
if (plant !== undefined && plants[plant] === undefined) {
  throw new Error(`--plant is one of: ${Object.keys(plants).join(", ")}`)
}
const failed = values.trace ? await traceOne() : await runAll()
process.exitCode = failed ? 1 : 0

async function traceOne(): Promise<boolean> {
  const made = plant === undefined ? null : plants[plant]!()
  const { violation } = await simulate({ seed, trace: console.log, plant: made })
  console.log(violation?.stack ?? "Every promise was kept.")
  return violation !== null
}

async function runAll(): Promise<boolean> {
  const schedules = wholeNumber("schedules", values.schedules)
  const threads = wholeNumber("threads", values.threads)
  const startedAt = performance.now()
  const report = await runSchedules({ seed, schedules, threads, ...(plant && { plant }) })
  const seconds = (performance.now() - startedAt) / 1_000
  for (const { seed: found, message } of report.findings) console.log(`seed ${found}: ${message}`)
  console.log(
    `${report.schedules} schedules, ${Math.round(report.simulatedMs / 3_600_000)} simulated hours, ` +
      `${seconds.toFixed(1)} s, ${report.findings.length} broken promises`,
  )
  const simulatedHours = Math.round(report.simulatedMs / 3_600_000)
  if (report.findings.length === 0 && plant === undefined) {
    recordResult("simulator", { schedules: report.schedules, simulatedHours, firstSeed: seed })
  }
  if (report.findings.length > 0) {
    console.log(`npm run simulate -- --trace --seed ${report.findings[0]!.seed}`)
  }
  return report.findings.length > 0
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`--${name} is a whole number`)
  return number
}
