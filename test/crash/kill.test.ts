import { expect, it } from "vitest"
import { killSuite, tooManyAttempts } from "./kill.suite.ts"

killSuite({ load: 14, start: 3, checkpoint: 3 }, 120_000)

it("counts attempts against the kills that hit them", () => {
  const row = { id: "a", state: "succeeded", door: "queue", attemptsCounted: 2 }
  const kill = { kind: "load", counts: true, from: 100, to: 110, detail: "" } as const
  const hit = { ...row, attempts: 2, submittedAt: 90, finishedAt: 200 }
  expect(tooManyAttempts([hit], [kill])).toEqual([])
  expect(tooManyAttempts([{ ...hit, attempts: 3 }], [kill])).toHaveLength(1)
  expect(tooManyAttempts([{ ...hit, finishedAt: 99 }], [kill])).toHaveLength(1)
})
