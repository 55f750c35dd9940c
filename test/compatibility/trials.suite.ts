import { beforeAll, describe, expect, it } from "vitest"
import type { CompatibilityTable } from "./compatibility-table.ts"
import type { Sighting } from "./program.ts"

/** What a trial must have shown, by its name. */
export type Expectations = Record<string, (saw: unknown) => void>

/** One test for each trial of a program that went through one door; every outcome becomes a cell of the table. */
export function describeTrials(
  table: CompatibilityTable,
  door: string,
  expectations: Expectations,
  runTrials: () => Promise<Map<string, Sighting>>,
): void {
  // Whatever keeps one from being made, it has not passed.
  for (const trial of Object.keys(expectations)) table.record(trial, door, "failed")

  describe(`through ${door}`, () => {
    let sightings = new Map<string, Sighting>()

    beforeAll(async () => {
      sightings = await runTrials()
    }, 180_000)

    it.each(Object.entries(expectations))("%s", (trial, expectation) => {
      const sighting = sightings.get(trial)
      expect(sighting?.raised, "what it raised").toBeUndefined()
      expect(sighting, "the program said nothing of it").toBeDefined()
      expectation(sighting?.saw)
      table.record(trial, door, "passed")
    })

    it("makes no trial that nobody looks at", () => {
      const unseen = [...sightings.keys()].filter((trial) => !Object.hasOwn(expectations, trial))
      expect(unseen).toEqual([])
    })
  })
}

/**
 * The last of a client's suite: every public name of the installed package has a trial, and the document says what was seen. With
 * `npm run compatibility` it is written instead.
 */
export function describeTable(
  table: CompatibilityTable,
  inventory: () => Promise<{ title: string; names: string[] }>,
): void {
  describe("the table", () => {
    let names: string[] = []

    beforeAll(async () => {
      const found = await inventory()
      table.title = found.title
      names = found.names
    })

    it("has a trial for every public name of the package", () => {
      expect(table.recordUntried(names)).toEqual([])
    })

    it("is what docs/reference/compatibility.md says; npm run compatibility writes it", () => {
      if (process.env["npm_lifecycle_event"] === "compatibility") table.write()
      expect(table.markdown).toBe(table.committed)
    })
  })
}
