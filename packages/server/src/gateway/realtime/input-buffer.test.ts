import { expect, test } from "vitest"
import { InputBuffer } from "./input-buffer.ts"
import { SharedBytes } from "./shared-bytes.ts"

function buffer(shared: SharedBytes, limits: { countMax?: number; bytesMax?: number } = {}) {
  const inputs = new InputBuffer({ countMax: 100, bytesMax: 1_000, ...limits, shared })
  const push = (...sizes: number[]) => {
    for (const size of sizes) inputs.push({ form: "json", data: new Uint8Array(size) })
  }
  const rest = () => {
    const sizes: number[] = []
    for (let one = inputs.shift(); one !== null; one = inputs.shift()) {
      sizes.push(one.data.byteLength)
    }
    return sizes
  }
  return { inputs, push, rest }
}

test("the oldest makes room, by number and by bytes; the newest stays whatever its size", () => {
  const counted = buffer(new SharedBytes(10_000), { countMax: 2 })
  counted.push(1, 2, 3)
  expect([counted.rest(), counted.inputs.dropped]).toEqual([[2, 3], 1])
  const weighed = buffer(new SharedBytes(10_000), { bytesMax: 10 })
  weighed.push(4, 5, 6)
  expect(weighed.rest()).toEqual([6])
  weighed.push(3, 50)
  expect(weighed.rest()).toEqual([50])
})

test("what all callers hold has a limit: beyond it nothing is kept, and it is let go of", () => {
  const shared = new SharedBytes(100)
  const [first, second] = [buffer(shared), buffer(shared)]
  first.push(60, 30)
  second.push(20)
  expect([second.rest(), second.inputs.dropped]).toEqual([[], 1])
  first.push(40)
  expect(first.inputs.size).toBe(2)
  first.inputs.clear()
  expect(first.inputs.dropped).toBe(3)
  second.push(100)
  expect([second.rest(), shared.isOver]).toEqual([[100], false])
})
