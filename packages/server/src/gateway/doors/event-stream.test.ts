import { expect, it } from "vitest"
import { sseEvent } from "./event-stream.ts"

it("an event is ASCII, one line, and parses to what it was", () => {
  const body = { message: "Grüße 🌅 \u2028 \n \u007f 漢字", n: 1 }
  const event = sseEvent(JSON.stringify(body))
  expect(event).toMatch(/^data: [\x20-\x7e]+\n\n$/)
  expect(JSON.parse(event.slice(6))).toEqual(body)
})

it("JSON of several lines is one line, and its numbers stay as they are", () => {
  const json = '{\r\n\t"seed": 12345678901234567890,\n "x": 1.0}'
  const event = sseEvent(json)
  expect(event).toBe('data: {  \t"seed": 12345678901234567890,  "x": 1.0}\n\n')
})
