import { describe, expect, test } from "vitest"
import { assembleParts, whyEmpty } from "./upload.ts"

function part(number: number, bytes = 10) {
  return { number, blob: `blob ${number}`, bytes, etag: `"e${number}"` }
}

function listed(...numbers: number[]) {
  return numbers.map((number) => ({ number, etag: `"e${number}"` }))
}

describe("parts", () => {
  test("are one file in the order of their numbers, however they came and are listed", () => {
    expect(assembleParts([part(2, 5), part(1), part(3, 1)], listed(3, 1, 2))).toEqual({
      blobs: [
        { name: "blob 1", bytes: 10 },
        { name: "blob 2", bytes: 5 },
        { name: "blob 3", bytes: 1 },
      ],
    })
  })

  test("are known by their etags with and without quotes, and with the mark of a weak one", () => {
    for (const etag of ['"e1"', "e1", 'W/"e1"']) {
      expect(assembleParts([part(1)], [{ number: 1, etag }])).toHaveProperty("blobs")
      expect(assembleParts([{ ...part(1), etag }], listed(1))).toHaveProperty("blobs")
    }
    for (const etag of ["e2", "", 'x"e1"', '"e1"x', "e1W/"]) {
      expect(assembleParts([part(1)], [{ number: 1, etag }])).toHaveProperty("objection")
    }
  })

  test("that are listed twice count as they are listed last", () => {
    const twice = [{ number: 1, etag: "old" }, ...listed(1)]
    expect(assembleParts([part(1)], twice)).toHaveProperty("blobs")
    expect(assembleParts([part(1)], twice.toReversed())).toHaveProperty("objection")
  })

  test.each([
    ["nothing is listed", [part(1)], [], "No parts are listed"],
    ["nothing came", [], listed(1), "Parts that did not come: 1"],
    ["one did not come", [part(1), part(3)], listed(1, 2, 3), "Parts that did not come: 2"],
    ["there is a gap", [part(2)], listed(2), "Parts that did not come: 1"],
    ["the last did not come", [part(1)], listed(1, 2, 4), "Parts that did not come: 2, 3, 4"],
    ["one is not listed", [part(1), part(2)], listed(1), "Parts that came and are not listed: 2"],
    ["the first is not", [part(1), part(2)], listed(2), "Parts that came and are not listed: 1"],
    [
      "etags are others",
      [part(1), part(2)],
      [
        { number: 2, etag: "x" },
        { number: 1, etag: "y" },
      ],
      "Parts whose etag is another one: 1, 2",
    ],
    [
      "some are empty",
      [part(1), part(2, 0), part(3, 0)],
      listed(1, 2, 3),
      `Parts that are empty: 2, 3. ${whyEmpty}`,
    ],
    [
      "the first is empty",
      [part(1, 0), part(2)],
      listed(1, 2),
      `Parts that are empty: 1. ${whyEmpty}`,
    ],
  ])("are no file when %s", (_, came, list, objection) => {
    expect(assembleParts(came, list)).toEqual({ objection })
  })

  test("make an empty file only as its single part", () => {
    expect(assembleParts([part(1, 0)], listed(1))).toEqual({
      blobs: [{ name: "blob 1", bytes: 0 }],
    })
  })

  test("that are missing are named, up to twenty of them", () => {
    const twenty = Array.from({ length: 20 }, (_, index) => index + 1).join(", ")
    expect(assembleParts([], listed(20))).toEqual({
      objection: `Parts that did not come: ${twenty}`,
    })
    expect(assembleParts([], listed(25))).toEqual({
      objection: `Parts that did not come: ${twenty} and 5 more`,
    })
  })

  test("that are empty are told with what to do about it", () => {
    expect(whyEmpty).toMatch(/^Only the single part .* use upload_file$/)
  })
})
