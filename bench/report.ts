import type { Contender } from "./contenders/contender.ts"
import { isBusy, type Machine } from "./machine.ts"
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
}

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
    "## Who takes part",
    contenders.map(formatContender).join("\n"),
    ...missing.map((line) => `Not measured: ${line}.`),
  ]
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`
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
