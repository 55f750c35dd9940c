import { expect, test } from "vitest"
import { percentile, spreadOf } from "./statistics.ts"

test("a percentile is the nearest rank, whatever the order", () => {
  const samples = Array.from({ length: 100 }, (_, index) => 100 - index)
  expect(percentile(samples, 0.5)).toBe(50)
  expect(percentile(samples, 0.99)).toBe(99)
  expect(percentile(samples, 1)).toBe(100)
  expect(percentile([7], 0.5)).toBe(7)
})

test("numbers are ordered as numbers", () => {
  expect(percentile([9, 10, 11], 0.5)).toBe(10)
  expect(spreadOf([9, 10, 11])).toEqual({ median: 10, min: 9, max: 11 })
})

test("the median of an even number of rounds is the mean of the middle two", () => {
  expect(spreadOf([4, 1, 3, 10])).toEqual({ median: 3.5, min: 1, max: 10 })
})

test("nothing measured is an error, not a number", () => {
  expect(() => percentile([], 0.5)).toThrow("no sample")
  expect(() => spreadOf([])).toThrow("no round")
})
