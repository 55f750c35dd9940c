import { expect, test } from "vitest"
import { formatAge, formatSpan } from "./span.ts"

const second = 1_000
const minute = 60 * second
const hour = 60 * minute

test.each([
  [-5, "0 ms"],
  [0, "0 ms"],
  [999, "999 ms"],
  [second, "1.0 s"],
  [3_240, "3.2 s"],
  [59_949, "59.9 s"],
  [59_950, "1 min"],
  [minute + 12_400, "1 min 12 s"],
  [59 * minute + 59_600, "1 h"],
  [3 * hour + 5 * minute, "3 h 5 min"],
  [24 * hour, "1 d"],
  [52 * hour, "2 d 4 h"],
])("%i ms are %s", (ms, text) => {
  expect(formatSpan(ms)).toBe(text)
})

test.each([
  [0, "1 s"],
  [11_700, "11 s"],
  [minute + 12_400, "1 min"],
  [52 * hour, "2 d"],
])("an age of %i ms is %s", (ms, text) => {
  expect(formatAge(ms)).toBe(text)
})
