import type { AttemptEvent } from "@tintype/protocol"
import { expect, test } from "vitest"
import { EventBuffer } from "./event-buffer.ts"
import { runnerLimits } from "../limits.ts"

function makeBuffer(logBytesMax = 1e9): { buffer: EventBuffer; sent: AttemptEvent[] } {
  const sent: AttemptEvent[] = []
  let at = 0
  const buffer = new EventBuffer({
    logBytesMax,
    now: () => (at += 1),
    send: (event) => sent.push(event),
  })
  return { buffer, sent }
}

const messages = (events: AttemptEvent[]) =>
  events.map((event) => (event.kind === "log" ? event.message : event.kind))

test("events are kept in order until they are stored", () => {
  const { buffer, sent } = makeBuffer()
  buffer.log("INFO", "one")
  buffer.progress(1, 2)
  buffer.log("INFO", "three")
  buffer.stored(2)
  expect(messages(buffer.unstored)).toEqual(["three"])
  expect(sent.map(({ seq, at }) => [seq, at])).toEqual([
    [1, 1],
    [2, 2],
    [3, 3],
  ])
  expect(buffer.nextSeq).toBe(4)
  buffer.stored(1)
  expect(messages(buffer.unstored)).toEqual(["three"])
})

test("a full buffer takes again what follows a store, after a mark", () => {
  const { buffer, sent } = makeBuffer()
  const line = "x".repeat(runnerLimits.logLineBytesMax)
  const places = Math.floor(runnerLimits.eventBufferBytesMax / (line.length + 128))
  for (let count = 0; count < places + 3; count += 1) buffer.log("INFO", line)
  expect(sent).toHaveLength(places)
  buffer.stored(2)
  buffer.log("INFO", "again")
  expect(messages(sent.slice(places))).toEqual([expect.stringContaining("3 events"), "again"])
  expect(sent.map(({ seq }) => seq)).toEqual(sent.map((_, index) => index + 1))
})

test("a long line is cut between characters", () => {
  const { buffer, sent } = makeBuffer()
  buffer.log("INFO", `a${"ü".repeat(runnerLimits.logLineBytesMax)}`)
  const [message = ""] = messages(sent)
  expect(message).toMatch(/^aü+ … \(cut\)$/u)
  expect(Buffer.byteLength(message)).toBeLessThan(runnerLimits.logLineBytesMax + 20)
})

test("a progress that is none is refused to the app, and large labels are left out", () => {
  const { buffer, sent } = makeBuffer()
  expect(() => buffer.progress(Number.NaN, 3)).toThrow(RangeError)
  expect(() => buffer.progress(-1, 3)).toThrow(RangeError)
  buffer.log("INFO", "labelled", { big: "x".repeat(runnerLimits.labelBytesMax) })
  expect(sent).toEqual([{ kind: "log", level: "INFO", message: "labelled", seq: 1, at: 1 }])
})

test("nothing follows the end", () => {
  const { buffer, sent } = makeBuffer()
  buffer.end()
  buffer.log("INFO", "late")
  buffer.progress(1, 1)
  expect(sent).toEqual([])
})
