import { expect, test } from "vitest"
import { atLeast, atMost, format, formatSpread } from "./targets.ts"

const bound = { figure: "jobs", of: "2 × peer", value: 200, unit: "/s" }

test("a lower bound is met at the bound and missed below it, by so much", () => {
  expect(atLeast({ ...bound, measured: 200 })).toEqual({
    figure: "jobs",
    target: "≥ 2 × peer = 200 /s",
    measured: "200 /s (+0 %)",
    met: true,
  })
  expect(atLeast({ ...bound, measured: 150 })).toMatchObject({
    measured: "150 /s (-25 %)",
    met: false,
  })
})

test("an upper bound is met at the bound and missed above it", () => {
  expect(atMost({ ...bound, measured: 200 }).met).toBe(true)
  expect(atMost({ ...bound, measured: 201 }).met).toBe(false)
})

test("what was not measured meets nothing", () => {
  expect(atLeast({ ...bound, measured: Number.NaN }).met).toBe(false)
  expect(atMost({ ...bound, measured: Number.NaN }).met).toBe(false)
})

test.each([
  [5_060.4, "5,060"],
  [12.44, "12.4"],
  [1.234, "1.23"],
  [0.4912, "0.491"],
  [-0.25, "-0.250"],
])("%s is told as %s", (value, text) => {
  expect(format(value)).toBe(text)
})

test("a spread tells the median and the extremes", () => {
  expect(formatSpread([3, 1, 2])).toBe("2.00 (1.00–3.00)")
})
