import { expect, test } from "vitest"
import { parseFlags } from "./flags.ts"

test("by default all rows are measured at length and reported", () => {
  const { rows, settings, report, profile } = parseFlags([])
  expect(rows).toBeNull()
  expect(settings).toMatchObject({ rounds: 5, queuedMany: 1_000_000, deliveries: 30_000 })
  expect(report).toMatch(/docs\/reference\/benchmarks\.md$/)
  expect(profile).toBe(false)
})

test("a quick run is never evidence: it leaves no report unless one is asked for", () => {
  expect(parseFlags(["--quick"])).toMatchObject({ settings: { rounds: 1 }, report: null })
  expect(parseFlags(["--quick", "--report", "a.md"]).report).toBe("a.md")
})

test("a part of the rows leaves no report unless one is asked for", () => {
  expect(parseFlags(["--rows", "jobs"]).report).toBeNull()
  expect(parseFlags(["--rows", "jobs", "--report", "a.md"]).report).toBe("a.md")
})

test("what is said counts more than what is usual", () => {
  const flags = parseFlags(["--quick", "--rows", "jobs,polls", "--rounds", "3", "--seconds", "7"])
  expect(flags.rows).toEqual(["jobs", "polls"])
  expect(flags.settings).toMatchObject({ rounds: 3, seconds: 7, warmupSeconds: 1 })
})

test.each([
  [["--rounds", "0"], "whole number"],
  [["--rounds", "many"], "whole number"],
  [["--seconds", "1.5"], "whole number"],
  [["--fast"], "--fast"],
])("%s is refused with a word about %s", (argv, word) => {
  expect(() => parseFlags(argv)).toThrow(word)
})
