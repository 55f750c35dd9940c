import { linkUntakenBytesMax } from "@tintype/protocol"
import { expect, test } from "vitest"
import { ChunkRelay } from "./chunk-relay.ts"

function open(): { relay: ChunkRelay; taken: [string, number][] } {
  const taken: [string, number][] = []
  const relay = new ChunkRelay({ onTaken: (lease, seq) => taken.push([lease, seq]) })
  relay.open("l", "request")
  return { relay, taken }
}

const chunk = (seq: number, data = `${seq}`) =>
  ({ type: "chunk", lease: "l", seq, data: Buffer.from(data) }) as const

const text = (data: Uint8Array | null) => data && Buffer.from(data).toString()

test("a chunk is given once, in order, and taken when its reader says so", () => {
  const { relay, taken } = open()
  let rings = 0
  const reader = relay.read("request", () => (rings += 1))
  expect(reader.next()).toBeNull()
  expect([relay.add(chunk(1)), relay.add(chunk(2))]).toEqual([null, null])
  expect(rings).toBe(2)
  expect(text(reader.next())).toBe("1")
  expect(taken).toEqual([])
  reader.taken()
  reader.taken()
  expect(taken).toEqual([["l", 1]])
  expect(text(reader.next())).toBe("2")
  expect(reader.next()).toBeNull()
})

test("what the link says again is not given again; that it was taken is said again", () => {
  const { relay, taken } = open()
  const reader = relay.read("request", () => {})
  relay.add(chunk(1))
  relay.add(chunk(2))
  reader.next()
  reader.taken()
  taken.length = 0
  expect([relay.add(chunk(1)), relay.add(chunk(2))]).toEqual([null, null])
  expect(taken).toEqual([["l", 1]])
  expect([text(reader.next()), reader.next()]).toEqual(["2", null])
})

test("a chunk behind a gap breaks the protocol; one of an unknown attempt is nobody's", () => {
  const { relay, taken } = open()
  expect(relay.add(chunk(2))).toBe("chunk out of order")
  expect(relay.add({ ...chunk(1), lease: "other" })).toBeNull()
  relay.close("l")
  expect(relay.add(chunk(1))).toBeNull()
  expect(taken).toEqual([])
})

test("an attempt that nobody reads goes on at once", () => {
  const { relay, taken } = open()
  relay.add(chunk(1))
  expect(taken).toEqual([["l", 1]])
  const reader = relay.read("request", () => {})
  expect(reader.next()).toBeNull()
  relay.add(chunk(2))
  relay.add(chunk(3))
  reader.next()
  reader.close()
  expect(taken.slice(1)).toEqual([
    ["l", 2],
    ["l", 3],
  ])
  relay.add(chunk(4))
  expect(taken.at(-1)).toEqual(["l", 4])
})

test("the newest reader reads on from where the one before was", () => {
  const { relay, taken } = open()
  const first = relay.read("request", () => {})
  for (const seq of [1, 2, 3]) relay.add(chunk(seq))
  first.next()
  const second = relay.read("request", () => {})
  expect(taken).toEqual([["l", 1]])
  expect(first.next()).toBeNull()
  first.close()
  relay.add(chunk(4))
  expect(["2", "3", "4"].map(() => text(second.next()))).toEqual(["2", "3", "4"])
})

test("what came before the end of an attempt can still be read after it", () => {
  const { relay, taken } = open()
  const reader = relay.read("request", () => {})
  relay.add(chunk(1))
  relay.close("l")
  expect(text(reader.next())).toBe("1")
  reader.taken()
  expect(taken).toEqual([])
})

test("more than a runner may say unheard breaks the protocol [few large, many empty]", () => {
  const { relay } = open()
  const reader = relay.read("request", () => {})
  const half = "x".repeat(linkUntakenBytesMax / 2 - 1_000)
  expect([relay.add(chunk(1, half)), relay.add(chunk(2, half))]).toEqual([null, null])
  expect(relay.add(chunk(3, half))).toBe("more chunks than were taken")
  reader.next()
  reader.taken()
  expect(relay.add(chunk(3, half))).toBeNull()

  const many = open().relay
  many.read("request", () => {})
  let seq = 1
  while (many.add(chunk(seq, "")) === null) seq += 1
  expect(seq).toBeLessThan(100_000)
})
