import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bare } from "./contenders/bare.ts"
import type { Contender } from "./contenders/contender.ts"
import { peers } from "./contenders/peer.ts"
import { tintype } from "./contenders/tintype.ts"
import { isInMemory } from "./disk.ts"
import { type BenchFlags, parseFlags, usage } from "./flags.ts"
import { Load } from "./load/load.ts"
import { describeMachine, isBusy } from "./machine.ts"
import { installPeers } from "./peers/install.ts"
import { formatProfiled, profile } from "./profile.ts"
import { Processes } from "./processes.ts"
import { formatReport, formatRow, formatVerdicts, type ReportFacts } from "./report.ts"
import { depth } from "./rows/depth.ts"
import { files } from "./rows/files.ts"
import { footprint } from "./rows/footprint.ts"
import { idleStreams } from "./rows/idle-streams.ts"
import { jobs } from "./rows/jobs.ts"
import { pickup } from "./rows/pickup.ts"
import { polls } from "./rows/polls.ts"
import { realtime } from "./rows/realtime.ts"
import type { Bench, Row } from "./rows/row.ts"
import { stream } from "./rows/stream.ts"
import { syncRun } from "./rows/sync-run.ts"
import { webhooks } from "./rows/webhooks.ts"

/** `npm run bench`: measures the product and its peers in one run, and writes the report. README.md beside it tells how. */

const rows: Row[] = [
  jobs,
  polls,
  syncRun,
  pickup,
  stream,
  realtime,
  depth,
  webhooks,
  idleStreams,
  files,
  footprint,
]
const folderMode = 0o711
const costsPrinted = 15
const exitInterrupted = 130

await main()

async function main(): Promise<void> {
  let flags: BenchFlags
  try {
    flags = parseFlags(process.argv.slice(2))
    checkRows(flags)
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
    process.exitCode = 2
    return
  }
  const refused = flags.profile ? null : installPeers(say)
  if (refused !== null) {
    console.error(refused)
    process.exitCode = 1
    return
  }
  // PostgreSQL runs as another user and must get to its folder in this one.
  const folder = mkdtempSync(join(tmpdir(), "tt-bench-"))
  chmodSync(folder, folderMode)
  const processes = new Processes()
  const load = new Load()
  let isEnding = false
  const clear = async () => {
    isEnding = true
    load.close()
    await processes.endAll(folder)
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // Under npm Ctrl-C comes twice; the second one must not cut the clearing short.
    process.on(signal, () => {
      if (!isEnding) void clear().finally(() => process.exit(exitInterrupted))
    })
  }
  try {
    await run(flags, folder, processes, load)
  } finally {
    await clear()
  }
}

function checkRows({ rows: asked }: BenchFlags): void {
  const names = rows.map(({ name }) => name)
  const unknown = asked?.find((name) => !names.includes(name))
  if (unknown === undefined) return
  throw new Error(`There is no row ${JSON.stringify(unknown)}; there are ${names.join(", ")}`)
}

async function run(
  flags: BenchFlags,
  folder: string,
  processes: Processes,
  load: Load,
): Promise<void> {
  const machine = describeMachine()
  if (isInMemory(folder)) say(`${folder} is in memory, where a flush costs nothing: set TMPDIR`)
  if (isBusy(machine)) say(`The machine is busy (load ${machine.loadAverage}): a trial at most`)
  const { contenders, missing } = chooseContenders()
  for (const line of missing) say(`Going on without ${line}`)
  const { settings } = flags
  const bench: Bench = {
    settings,
    contenders,
    processes,
    load,
    makeFolder: async (name) => {
      const made = await mkdtemp(join(folder, `${name}-`))
      chmodSync(made, folderMode)
      return made
    },
    say,
  }
  if (flags.profile) {
    say(formatProfiled(await profile(bench), costsPrinted))
    return
  }
  const words = process.argv.slice(2)
  const command = ["npm run bench", ...(words.length > 0 ? ["--", ...words] : [])].join(" ")
  const facts: ReportFacts = {
    machine,
    settings,
    command,
    contenders,
    missing,
    measured: [],
    profiled: null,
  }
  for (const row of rows.filter(({ name }) => flags.rows?.includes(name) ?? true)) {
    const report = await row.measure(bench)
    facts.measured.push({ row, report })
    console.log(`\n${formatRow(row, report)}\n\n${formatVerdicts(report.verdicts)}\n`)
  }
  if (flags.report === null) return
  if (flags.rows === null) facts.profiled = await profile(bench)
  writeFileSync(flags.report, formatReport(facts))
  say(`The report is in ${flags.report}`)
}

function chooseContenders(): { contenders: Contender[]; missing: string[] } {
  const all = [tintype, bare, ...peers]
  const missing = all.flatMap((contender) => {
    const what = contender.missing()
    return what === null ? [] : [`${contender.name}: it needs ${what}`]
  })
  return { contenders: all.filter((contender) => contender.missing() === null), missing }
}

function say(line: string): void {
  console.log(line)
}
