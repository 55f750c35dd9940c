import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { logarithm, SeededNoise, splitMix, Xoshiro128 } from "./seeded-noise.ts"

function draw(seed: string, count: number): Float32Array {
  const numbers = new Float32Array(count)
  new SeededNoise(seed).drawInto(numbers)
  return numbers
}

describe("known answers", () => {
  test("xoshiro128** 1.1 of its authors' C, from the state 1, 2, 3, 4", () => {
    const bits = new Xoshiro128([1, 2, 3, 4])
    const first = Array.from({ length: 10 }, () => bits.next())
    expect(first).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597,
      4258142804,
    ])
  })

  test("SplitMix64 of Java's SplittableRandom, from the seed 1234567", () => {
    const gamma = 0x9e3779b97f4a7c15n
    const first = [1n, 2n, 3n].map((count) => splitMix(1234567n + count * gamma))
    expect(first).toEqual([6457827717110365317n, 3203168211198807973n, 9817491932198370423n])
  })

  test.each<[string, number[]]>([
    // By another implementation, in Python with 40 decimal digits.
    ["0", [-0.260583907, -0.799968958, -0.747302353, -0.531485498, -0.425919652, -0.634519637]],
    ["42", [0.862119198, -0.062960729, 0.00496524712, -0.573873699, -0.537642717, -1.01006424]],
    [
      "18446744073709551615",
      [0.193204388, -0.728412211, 1.32117271, 1.4450711, 0.555878878, 2.73192763],
    ],
    [
      "123456789012345678901234567890",
      [-0.516528726, 1.82636321, 0.43617025, 0.650678515, 0.862943947, 0.801886678],
    ],
  ])("the seed %s, for ever", (seed, numbers) => {
    expect([...draw(seed, numbers.length)]).toEqual(numbers.map(Math.fround))
  })
})

describe("seeds", () => {
  test("of any size and sign are taken, their lowest 64 bits count", () => {
    expect(draw("-1", 4)).toEqual(draw("18446744073709551615", 4))
    expect(draw("18446744073709551616", 4)).toEqual(draw("0", 4))
  })

  test("neighbours have nothing in common", () => {
    const [one, next] = [draw("7", 4_096), draw("8", 4_096)]
    const product = one.reduce((sum, value, at) => sum + value * (next[at] ?? 0), 0) / one.length
    expect(Math.abs(product)).toBeLessThan(4 / Math.sqrt(one.length))
  })

  test("how the numbers are fetched does not matter [pieces of odd lengths]", () => {
    const parts = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), parts, (seed, lengths) => {
        const source = new SeededNoise(String(seed))
        const pieces = lengths.map((length) => new Float32Array(length))
        for (const piece of pieces) source.drawInto(piece)
        const joined = pieces.flatMap((piece) => [...piece])
        expect(joined).toEqual([...draw(String(seed), joined.length)])
      }),
    )
  })
})

test("the numbers are normal: moments and tails of 2¹⁶", () => {
  const numbers = draw("20", 2 ** 16)
  const moment = (power: number) =>
    numbers.reduce((sum, value) => sum + value ** power, 0) / numbers.length
  const beyond = (limit: number) =>
    numbers.filter((value) => Math.abs(value) > limit).length / numbers.length
  expect(moment(1)).toBeCloseTo(0, 1)
  expect(moment(2)).toBeCloseTo(1, 1)
  expect(Math.abs(moment(3))).toBeLessThan(0.05)
  expect(Math.abs(moment(4) - 3)).toBeLessThan(0.15)
  expect(Math.abs(beyond(1) - 0.3173)).toBeLessThan(0.01)
  expect(Math.abs(beyond(2) - 0.0455)).toBeLessThan(0.004)
  expect(Math.abs(beyond(3) - 0.0027)).toBeLessThan(0.001)
})

test("the logarithm is right to the last bits", () => {
  const between = fc.double({ min: 2 ** -62, max: 1 - 2 ** -53, noNaN: true })
  fc.assert(
    fc.property(between, (value) => {
      const exact = Math.log(value)
      expect(Math.abs(logarithm(value) - exact)).toBeLessThanOrEqual(Math.abs(exact) * 4e-15)
    }),
  )
})
