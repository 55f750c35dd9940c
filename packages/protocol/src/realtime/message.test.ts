import { decode, encode } from "@msgpack/msgpack"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { packMessage, unpackMessage } from "./message.ts"

describe("a realtime message", () => {
  test("reads what the official clients write", () => {
    const input = {
      prompt: "a lighthouse 🗼",
      seed: 42,
      strength: 0.65,
      sync_mode: true,
      seen: null,
    }
    expect(unpackMessage(encode(input))).toEqual({ value: input })
    const content = Uint8Array.of(1, 2, 3)
    expect(unpackMessage(encode({ list: [{ content }] }))).toEqual({
      value: { list: [{ content }] },
    })
  })

  test.each([
    [42, 42],
    [2 ** 32, 2 ** 32],
    [-(2 ** 40), -(2 ** 40)],
    [2n ** 63n + 1n, 2n ** 63n + 1n],
    [-(2n ** 63n), -(2n ** 63n)],
    [5n, 5],
    [0.5, 0.5],
  ])("keeps every digit, both ways [%s]", (given, read) => {
    expect(unpackMessage(packMessage({ seed: given }))).toEqual({ value: { seed: read } })
  })

  test("is an integer to whoever reads it, not a float, however large", () => {
    for (const seed of [2 ** 33, -(2 ** 33), 0xffff_ffff, -0x8000_0000]) {
      const packed = packMessage(seed)
      expect(packed[0]).not.toBe(0xcb)
      expect(decode(packed)).toBe(seed)
    }
  })

  test("refuses to be written where msgpack has no word [an integer beyond 64 bits]", () => {
    expect(() => packMessage({ seed: 2n ** 64n })).toThrow(TypeError)
  })

  test("is anything that JSON can say, and comes back as it was", () => {
    fc.assert(
      fc.property(fc.jsonValue({ depthSize: "large" }), (value) => {
        // The decoder refuses this one name, for what it does to a prototype.
        fc.pre(!JSON.stringify(value).includes("__proto__"))
        expect(unpackMessage(packMessage(value))).toEqual({
          value: JSON.parse(JSON.stringify(value)),
        })
      }),
    )
  })
})

describe("what is no message", () => {
  test.each<[string, number[], string]>([
    ["nothing", [], "truncated"],
    ["a map that ends early", [0x82, 0xa1, 0x61, 0x01], "truncated"],
    ["two values", [0x01, 0x02], "bytes after the message"],
    ["a text longer than the bytes", [0xdb, 0xff, 0xff, 0xff, 0xff], "truncated"],
    ["an extension", [0xd4, 0x01, 0x00], "type byte 0xd4 is not used"],
    ["a prototype", [0x81, 0xa9, ...Buffer.from("__proto__"), 0x01], "__proto__"],
    ["a map in a map's key", [0x81, 0x80, 0x01], "key"],
  ])("is told why [%s]", (_, bytes, error) => {
    expect(unpackMessage(Uint8Array.from(bytes))).toEqual({ error: expect.stringContaining(error) })
  })

  test("is a bomb: told before anything is built of it", () => {
    const nested = new Uint8Array(100_000).fill(0x91)
    expect(unpackMessage(nested)).toEqual({ error: "nested deeper than 64" })
    // Four billion entries of which none are there, a million lists within lists, a million empty maps.
    expect(unpackMessage(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff))).toEqual({
      error: "truncated",
    })
    const maps = new Uint8Array(1_000_005).fill(0x80)
    maps.set([0xdd, 0x00, 0x0f, 0x42, 0x40])
    expect(unpackMessage(maps)).toEqual({ error: "more than 500000 values" })
  })

  test("arbitrary bytes are an error or a value, and never a throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(Object.keys(unpackMessage(bytes))).toHaveLength(1)
      }),
    )
  })
})
