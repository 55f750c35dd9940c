import { describe, expect, it } from "vitest"
import { forwardClock } from "./clock.ts"

const hourMs = 3_600_000

describe("the clock that is never set back", () => {
  let wall = 0
  let steady = 0

  function start(): () => number {
    wall = 100 * hourMs
    steady = 5
    return forwardClock(
      () => wall,
      () => steady,
    )
  }

  function pass(ms: number): void {
    wall += ms
    steady += ms
  }

  it("is the wall clock, small corrections included", () => {
    const now = start()
    pass(60_000)
    expect(now()).toBe(wall)
    wall -= 900
    expect(now()).toBe(wall)
    wall += 900
    expect(now()).toBe(wall)
  })

  it("goes on from where it was when the wall clock is set back, until that has caught up", () => {
    const now = start()
    const before = now()
    wall -= 5 * hourMs
    expect(now()).toBe(before)
    pass(1_000)
    expect(now()).toBe(before + 1_000)
    wall += 2 * hourMs
    expect(now()).toBe(before + 1_000)
    wall += 4 * hourMs
    expect(now()).toBe(wall)
    expect(wall).toBe(before + 1_000 + hourMs)
  })

  it("follows a step forward: the machine slept, or was wrong", () => {
    const now = start()
    wall += 8 * hourMs
    expect(now()).toBe(wall)
  })
})
