import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { FuzzTarget } from "./fuzz-target.ts"
import { parts } from "./properties.ts"

/** Repeatable here; `npm run fuzz` takes another one at each run. */
const seed = 20_260_101
const forMs = 3_000

describe("whatever is sent, the server answers, stays, and serves the next call", () => {
  let target: FuzzTarget

  beforeAll(async () => {
    target = await FuzzTarget.open()
  }, 60_000)

  afterAll(async () => {
    await target.close()
  })

  it.each(parts)(
    "$name",
    async ({ run }) => {
      expect(await run(target, { seed, forMs })).toBeGreaterThan(10)
    },
    60_000,
  )
})
