import { expect, test } from "vitest"
import { blend, fromTensor, maskToTensor, toTensor } from "./pixels.ts"

const picture = {
  width: 3,
  height: 2,
  rgb: Uint8ClampedArray.from({ length: 18 }, (_, at) => at * 15),
}

test("A picture is three planes of -1…1 for the networks, and comes back as it was", () => {
  const tensor = toTensor(picture)
  expect(tensor.dims).toEqual([1, 3, 2, 3])
  // Red of all pixels, then green, then blue.
  expect(tensor.data[0]).toBe(-1)
  expect(tensor.data[1]).toBeCloseTo(45 / 127.5 - 1, 6)
  expect(tensor.data[6]).toBeCloseTo(15 / 127.5 - 1, 6)
  expect(tensor.data[17]).toBe(1)
  expect(fromTensor(tensor)).toEqual(picture)
})

test("What a network makes beyond black and white is black and white", () => {
  const data = Float32Array.of(-3, 1.5, 0, 7, -1.01, 1)
  const { rgb } = fromTensor({ data, dims: [1, 3, 1, 2] })
  expect([...rgb]).toEqual([0, 128, 0, 255, 255, 255])
})

test("Where the mask is black the caller's pixels stay, where it is grey both are seen", () => {
  const own = { width: 3, height: 1, rgb: new Uint8ClampedArray(9).fill(100) }
  const painted = { width: 3, height: 1, rgb: new Uint8ClampedArray(9).fill(200) }
  const mask = Uint8Array.of(0, 51, 255)
  expect([...blend(own, painted, mask).rgb]).toEqual([100, 100, 100, 120, 120, 120, 200, 200, 200])
  expect(own.rgb[8]).toBe(100)
  const tensor = maskToTensor(mask, 3, 1)
  expect(tensor.dims).toEqual([1, 1, 1, 3])
  expect([...tensor.data]).toEqual([0, expect.closeTo(0.2, 6), 1])
})
