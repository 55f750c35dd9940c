import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { JsonCheck, jsonDepthMax } from "./json-check.ts"

function accepts(bytes: Uint8Array, chunkBytes = bytes.length || 1): boolean {
  const check = new JsonCheck()
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    if (!check.push(bytes.subarray(start, start + chunkBytes))) return false
  }
  return check.end()
}

/** What the platform's own parser says of the same bytes; a byte order mark counts as a character. */
function parses(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes))
    return true
  } catch {
    return false
  }
}

const encoder = new TextEncoder()

function nested(depth: number): Uint8Array {
  return encoder.encode("[".repeat(depth) + "]".repeat(depth))
}

describe("texts that are JSON", () => {
  test.each([
    "null",
    "true",
    "false",
    "0",
    "-0",
    "10",
    "-1.5",
    "1e5",
    "1E-7",
    "0.0e+0",
    '""',
    "[]",
    "{}",
    ' \t\r\n{ "a" : [ 1 , 2 ] , "b" : { } } \n',
    "[[],[{}],0]",
    '{"":0,"":1}',
    "123 ",
    '"\\u0000\\ud800\\"\\\\\\/\\b\\f\\n\\r\\t"',
    '"é€😀\u007f\u2028"',
    '{"a":-0.1E+10}',
  ])("%j is accepted, however it is cut", (text) => {
    const bytes = encoder.encode(text)
    expect(parses(bytes)).toBe(true)
    for (let size = 1; size <= bytes.length; size += 1) expect(accepts(bytes, size)).toBe(true)
  })
})

describe("texts that are not JSON", () => {
  test.each([
    "",
    " ",
    "nul",
    "nulll",
    "True",
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "+1",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "[",
    "]",
    "{",
    "}",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{,}",
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    "{1:2}",
    "[}",
    "{]",
    '[{"a":1]}',
    "1 2",
    "{}{}",
    '"',
    '"\\"',
    '"\\x"',
    '"\\u12g4"',
    '"a\nb"',
    '"\t"',
    "'a'",
    "[1]]",
    "//",
    "\ufeff1",
    "\u00a01",
    "1,",
    ",",
    ":",
    "tru e",
    '{"a":1 "b":2}',
    "1.e5",
  ])("%j is refused, however it is cut", (text) => {
    const bytes = encoder.encode(text)
    expect(parses(bytes)).toBe(false)
    for (let size = 1; size <= bytes.length + 1; size += 1) expect(accepts(bytes, size)).toBe(false)
  })

  test.each([
    ["a lone continuation", [0x80]],
    ["overlong, two bytes", [0xc0, 0xaf]],
    ["overlong, three bytes", [0xe0, 0x9f, 0xbf]],
    ["overlong, four bytes", [0xf0, 0x8f, 0xbf, 0xbf]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["beyond U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["no such lead", [0xff]],
    ["cut short", [0xe2, 0x82]],
  ])("bytes that are no UTF-8 are refused (%s)", (_, inner) => {
    const bytes = Uint8Array.from([0x22, ...inner, 0x22])
    expect(parses(bytes)).toBe(false)
    expect(accepts(bytes)).toBe(false)
    expect(accepts(bytes, 1)).toBe(false)
  })

  test("nesting is bounded", () => {
    expect(accepts(nested(jsonDepthMax))).toBe(true)
    expect(accepts(nested(jsonDepthMax + 1))).toBe(false)
  })

  test("a refused text stays refused", () => {
    const check = new JsonCheck()
    expect(check.push(encoder.encode("]"))).toBe(false)
    expect(check.push(encoder.encode("1"))).toBe(false)
    expect(check.end()).toBe(false)
  })
})

describe("the platform's parser agrees", () => {
  const cut = fc.integer({ min: 1, max: 9 })

  test("on every JSON value, with any white space", () => {
    fc.assert(
      fc.property(fc.json(), fc.integer({ min: 0, max: 3 }), cut, (text, indent, size) => {
        const bytes = encoder.encode(JSON.stringify(JSON.parse(text), null, indent))
        expect(accepts(bytes, size)).toBe(true)
      }),
    )
  })

  test("on texts with one byte changed, removed or inserted", () => {
    const change = fc.constantFrom("set", "remove", "insert")
    const byte = fc.oneof(
      fc.constantFrom(...encoder.encode('{}[]",:\\0123456789.eE+-tfn u\n')),
      fc.integer({ min: 0, max: 255 }),
    )
    fc.assert(
      fc.property(fc.json(), fc.nat(), change, byte, cut, (text, at, kind, value, size) => {
        const bytes = [...encoder.encode(text)]
        const index = at % bytes.length
        bytes.splice(index, kind === "insert" ? 0 : 1, ...(kind === "remove" ? [] : [value]))
        const changed = Uint8Array.from(bytes)
        expect(accepts(changed, size)).toBe(parses(changed))
      }),
      { numRuns: 3_000 },
    )
  })

  test("on bytes made of JSON's own characters", () => {
    const tokens = fc.array(
      fc.constantFrom("{", "}", "[", "]", ",", ":", '"a"', "1", "-", ".5", "e3", "null", " "),
      { maxLength: 9 },
    )
    fc.assert(
      fc.property(tokens, cut, (parts, size) => {
        const bytes = encoder.encode(parts.join(""))
        expect(accepts(bytes, size)).toBe(parses(bytes))
      }),
      { numRuns: 3_000 },
    )
  })
})
