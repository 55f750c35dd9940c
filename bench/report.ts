import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Contender } from "./contenders/contender.ts"
import { isBusy, type Machine } from "./machine.ts"
import { formatShare, type Profiled } from "./profile.ts"
import type { BenchSettings, Row, RowReport, Table } from "./rows/row.ts"
import type { Verdict } from "./targets.ts"

export interface ReportFacts {
  machine: Machine
  settings: BenchSettings
  /** As typed. */
  command: string
  contenders: Contender[]
  /** Who could not take part, and what to do about it. */
  missing: string[]
  measured: { row: Row; report: RowReport }[]
  /** Null: it was not profiled. */
  profiled: Profiled | null
}

const costsTold = 5
/** What was done about what the profiles show, by hand. */
const hotPath = readFileSync(join(import.meta.dirname, "hot-path.md"), "utf8").trim()

/** The whole report as Markdown: what `docs/reference/benchmarks.md` holds. */
export function formatReport(facts: ReportFacts): string {
  const { machine, settings, command, contenders, missing, measured } = facts
  const verdicts = measured.flatMap(({ report }) => report.verdicts)
  const versions = Object.entries(machine.versions).map(([name, one]) => `${name} ${one}`)
  const parts = [
    "# Benchmarks",
    `Written by \`${command}\`; how it measures is told in [bench/README.md](../../bench/README.md). Numbers of different runs or machines do not compare; ratios within a run do.`,
    formatTable({
      caption: "",
      header: ["", ""],
      rows: [
        ["machine", `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB`],
        ["system", machine.system],
        ["load before", machine.loadAverage.toFixed(2)],
        ["commit", machine.commit],
        ["versions", versions.join(", ")],
        ["rounds", `${settings.rounds} of ${settings.seconds} s a measurement`],
      ],
    }),
    ...(isBusy(machine)
      ? ["**The machine was busy with something else. These numbers say little.**"]
      : []),
    "## Targets",
    formatVerdicts(verdicts),
    ...measured.map(({ row, report }) => formatRow(row, report)),
    ...(facts.profiled === null ? [] : ["## Hot path", formatHotPath(facts.profiled)]),
    "## Who takes part",
    contenders.map(formatContender).join("\n"),
    ...missing.map((line) => `Not measured: ${line}.`),
  ]
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`
}

function formatHotPath({ concurrency, perSecond, threads }: Profiled): string {
  const rows = threads.map(({ name, busyMs, totalMs, costs }) => [
    name,
    `${Math.round((busyMs / totalMs) * 100)} %`,
    ...costs.slice(0, costsTold).map((cost) => `${cost.name}: ${formatShare(cost.share).trim()}`),
  ])
  const ranks = Array.from({ length: costsTold }, (_, index) => `${index + 1}.`)
  const about = `CPU profiles of \`jobs\` at c=${concurrency} (${Math.round(perSecond)} jobs a second while it was profiled); \`npm run bench -- --profile\` leaves them in bench/profiles. Shares of the time in which the thread was busy.`
  return [
    about,
    formatTable({ caption: "", header: ["thread", "busy", ...ranks], rows }),
    hotPath,
  ].join("\n\n")
}

export function formatRow(row: Row, report: RowReport): string {
  return [`## ${row.title}`, row.about, ...report.tables.map(formatTable), ...report.notes].join(
    "\n\n",
  )
}

export function formatVerdicts(verdicts: Verdict[]): string {
  if (verdicts.length === 0) return ""
  return formatTable({
    caption: "",
    header: ["figure", "target", "measured", ""],
    rows: verdicts.map(({ figure, target, measured, met }) => [
      figure,
      target,
      measured,
      met ? "met" : "**missed**",
    ]),
  })
}

function formatTable({ caption, header, rows }: Table): string {
  const lines = [header, header.map(() => "---"), ...rows].map(
    (cells) => `| ${cells.join(" | ")} |`,
  )
  return `${caption === "" ? "" : `${caption}:\n\n`}${lines.join("\n")}`
}

function formatContender({ name, about, page }: Contender): string {
  return `- **${name}**: ${about}${page === null ? "" : ` ([${new URL(page).host}](${page}))`}`
}
