import { expect, test } from "vitest"
import { formatReport, type ReportFacts } from "./report.ts"

const facts: ReportFacts = {
  machine: {
    cpu: "A processor",
    cores: 2,
    memoryGb: 24,
    system: "Linux 6",
    loadAverage: 0.1,
    commit: "abc1234",
    versions: { Node: "24.0.0" },
  },
  settings: { rounds: 5, seconds: 5, warmupSeconds: 3, queuedMany: 10, deliveries: 10 },
  command: "npm run bench",
  contenders: [],
  missing: ["pg-boss: it needs PostgreSQL (apt-get install postgresql)"],
  measured: [
    {
      row: {
        name: "jobs",
        title: "Durable jobs",
        about: "How it is measured.",
        measure: () => Promise.reject(new Error("measured before")),
      },
      report: {
        tables: [{ caption: "Jobs a second", header: ["", "c=1"], rows: [["tintype", "800"]] }],
        verdicts: [{ figure: "jobs", target: "≥ 1,000 /s", measured: "800 /s", met: false }],
        notes: ["One note."],
      },
    },
  ],
  profiled: null,
}

test("the report says where, of what and how it was measured, and what was missed", () => {
  const report = formatReport(facts)
  expect(report).toContain("| machine | A processor, 2 cores, 24 GB |")
  expect(report).toContain("| commit | abc1234 |")
  expect(report).toContain("Written by `npm run bench`")
  expect(report).toContain("| jobs | ≥ 1,000 /s | 800 /s | **missed** |")
  expect(report).toContain("## Durable jobs\n\nHow it is measured.\n\nJobs a second:")
  expect(report).toContain("| tintype | 800 |")
  expect(report).toContain("One note.")
  expect(report).toContain("Not measured: pg-boss: it needs PostgreSQL")
  expect(report).not.toContain("busy")
})

test("numbers of a machine that had something else to do are called that", () => {
  const report = formatReport({ ...facts, machine: { ...facts.machine, loadAverage: 3 } })
  expect(report).toContain("The machine was busy")
})

test("the dearest five of each thread stand in the report, with what was done about them", () => {
  const costs = Array.from({ length: 6 }, (_, at) => ({ name: `cost${at}`, share: 0.3 - at / 20 }))
  const thread = { name: "server, main thread", file: "p", busyMs: 50, totalMs: 200, costs }
  const report = formatReport({
    ...facts,
    profiled: { concurrency: 128, perSecond: 4_000, threads: [thread] },
  })
  expect(report).toContain("| server, main thread | 25 % | cost0: 30.0 % |")
  expect(report).toContain("cost4: 10.0 % |\n")
  expect(report).not.toContain("cost5")
  expect(report).toContain("What was done about them:")
})
