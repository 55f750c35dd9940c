import { expect, test } from "vitest"
import { mayHost } from "./hosting.ts"

test.each([
  [["acme/painter"], "acme/painter", true],
  [["acme/painter"], "acme/painter2", false],
  [["acme/painter"], "acme/paint", false],
  [["acme/*"], "acme/painter", true],
  [["acme/*"], "acme2/painter", false],
  [["acme/*"], "acm/painter", false],
  [["other/one", "acme/*"], "acme/painter", true],
  [[], "acme/painter", false],
  [["*"], "painter", false],
  [["acme/*"], "acme", false],
  [null, "acme/painter", true],
])("%j may host %s: %s", (patterns, app, may) => {
  expect(mayHost(patterns, app)).toBe(may)
})
