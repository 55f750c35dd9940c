import { expect, test } from "vitest"
import { UsageError } from "../terminal.ts"
import { describeRefusal, findWay, parseAllowed } from "./host-rules.ts"

const rules = {
  allowed: ["pypi.org", "*.example.com", "10.0.0.5"],
  serverHost: "tin.example.org",
  allowsLoopback: true,
}

test.each([
  ["fal.run", "tintype"],
  ["Queue.FAL.run.", "tintype"],
  ["v3b.fal.media", "tintype"],
  ["wma.fal.run", "refused"],
  ["fal.run.example.org", "refused"],
  ["pypi.org", "direct"],
  ["files.pypi.org", "refused"],
  ["a.b.example.com", "direct"],
  ["example.com", "refused"],
  ["badexample.com", "refused"],
  ["10.0.0.5", "direct"],
  ["10.0.0.50", "refused"],
  ["tin.example.org", "direct"],
  ["localhost", "direct"],
  ["app.localhost", "direct"],
  ["127.0.0.2", "direct"],
  ["[::1]", "direct"],
  ["::1", "direct"],
  ["127.0.0.1.example.net", "refused"],
  ["0.0.0.0", "refused"],
  ["169.254.169.254", "refused"],
  ["", "refused"],
] as const)("%s → %s", (host, way) => {
  expect(findWay(host, rules)).toBe(way)
})

test("a suffix that covers hosts of the service does not let them out", () => {
  expect(findWay("queue.fal.run", { ...rules, allowed: ["*.fal.run"] })).toBe("tintype")
})

test("in a network of its own a program's loopback is not ours", () => {
  const inside = { ...rules, allowsLoopback: false }
  expect(findWay("127.0.0.1", inside)).toBe("refused")
  expect(findWay("::1", { ...inside, allowed: ["::1"] })).toBe("direct")
})

test("--allow takes hosts, in any case", () => {
  expect(["PyPI.org", "*.Example.com", "10.0.0.5", "[::1]"].map(parseAllowed)).toEqual([
    "pypi.org",
    "*.example.com",
    "10.0.0.5",
    "::1",
  ])
})

test.each(["https://pypi.org", "pypi.org:443", "*", "a/b", "*.", "fal.run", "queue.fal.run"])(
  "--allow %s is wrong usage",
  (given) => {
    expect(() => parseAllowed(given)).toThrow(UsageError)
  },
)

test("what is refused says how it would be let through", () => {
  expect(describeRefusal("API.example.net")).toBe(
    "api.example.net: --allow api.example.net would let it through",
  )
  expect(describeRefusal("wma.fal.run")).toContain("which Tintype does not stand in for")
})
