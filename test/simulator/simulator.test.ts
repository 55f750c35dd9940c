import { describe, expect, test } from "vitest"
import { runSchedules } from "./crew.ts"
import { plants } from "./plants.ts"
import { simulate } from "./simulation.ts"

/** On two busy cores these take less than a minute. */
const schedules = Number(process.env["TINTYPE_SIMULATE"] ?? 10_000)
const threads = 2

test(`every promise is kept in ${schedules} seeded schedules`, { timeout: 300_000 }, async () => {
  const report = await runSchedules({ seed: 1, schedules, threads })
  expect(report.findings, "npm run simulate -- --trace --seed N").toEqual([])
  expect(report.schedules).toBe(schedules)
})

test("a seed replays exactly, whatever ran before it", async () => {
  const first = await traceOf(4_711)
  await simulate({ seed: 12 })
  await simulate({ seed: 13 })
  const second = await traceOf(4_711)
  expect(first.length).toBeGreaterThan(20)
  expect(second).toEqual(first)
  expect(await traceOf(4_712)).not.toEqual(first)
})

describe("a planted defect is found", () => {
  /** The number of schedules that the first seeds need for it, with room for other choices. */
  const neededMax: Record<string, number> = {
    "no lease check at settle": 4_000,
    "wake before commit": 5,
    "cancel lost on requeue": 1_000,
    "lost submits forgotten": 100,
  }

  test("each has its bound", () => {
    expect(Object.keys(neededMax)).toEqual(Object.keys(plants))
  })

  test.each(Object.entries(neededMax))("%s", { timeout: 120_000 }, async (plant, most) => {
    const report = await runSchedules({
      seed: 1,
      schedules: most,
      threads,
      plant,
      findingsMax: 1,
    })
    const [finding] = report.findings
    expect(finding, `${plant} in ${most} schedules`).toBeDefined()
    expect(finding!.message).toMatch(promises[plant]!)
    console.log(`${plant}: ${report.schedules} schedules, seed ${finding!.seed}`)
  })

  /** What each of them breaks. */
  const promises: Record<string, RegExp> = {
    "no lease check at settle": /^a stale lease cannot write/,
    "wake before commit": /^nothing is told before it is committed/,
    "cancel lost on requeue": /^a cancelled request never runs again/,
    "lost submits forgotten": /^a lost answer does not double the work/,
  }
})

async function traceOf(seed: number): Promise<string[]> {
  const lines: string[] = []
  const { violation, happenings } = await simulate({ seed, trace: (line) => lines.push(line) })
  expect(violation).toBeNull()
  return [...lines, `${happenings}`]
}
