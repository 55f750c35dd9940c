import { expect, it } from "vitest"
import { RateLimiter } from "./rate-limit.ts"

function limiter() {
  const clock = { now: 0 }
  return { clock, rates: new RateLimiter(() => clock.now) }
}

it("gives a second's worth at once, then as many as the rate says", () => {
  const { clock, rates } = limiter()
  const take = () => rates.take([{ name: "a", perSecond: 2 }])
  expect([take(), take(), take()]).toEqual([null, null, 1])
  clock.now = 499
  expect(take()).toBe(1)
  clock.now = 500
  expect([take(), take()]).toEqual([null, 1])
  clock.now = 60_000
  expect([take(), take(), take()]).toEqual([null, null, 1])
})

it("takes from every bucket or from none", () => {
  const { rates } = limiter()
  const narrow = { name: "a/key", perSecond: 1 }
  const wide = { name: "a", perSecond: 2 }
  expect(rates.take([wide, narrow])).toBeNull()
  expect(rates.take([wide, narrow])).toBe(1)
  expect(rates.take([wide])).toBeNull()
  expect(rates.take([wide])).toBe(1)
  expect(rates.take([{ name: "b", perSecond: 1 }])).toBeNull()
})

it("forgets buckets that are full again when there are too many", () => {
  const { clock, rates } = limiter()
  expect(rates.take([{ name: "first", perSecond: 1 }])).toBeNull()
  clock.now = 5_000
  for (let index = 0; index < 10_001; index += 1) rates.take([{ name: `${index}`, perSecond: 1 }])
  expect(rates.take([{ name: "first", perSecond: 1 }])).toBeNull()
  expect(rates.take([{ name: "first", perSecond: 1 }])).toBe(1)
})
