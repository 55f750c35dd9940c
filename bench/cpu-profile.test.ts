import { expect, test } from "vitest"
import { type CpuProfile, selfTimes } from "./cpu-profile.ts"

const frame = (functionName: string, url = "", lineNumber = 0) => ({
  functionName,
  url,
  lineNumber,
})
const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame("(idle)") },
    { id: 2, callFrame: frame("claim", "file:///somewhere/packages/server/dist/engine.js", 119) },
    { id: 3, callFrame: frame("claim", "file:///somewhere/packages/server/dist/engine.js", 119) },
    { id: 4, callFrame: frame("", "node:net", 1) },
  ],
  startTime: 1_000_000,
  samples: [2, 1, 3, 4],
  timeDeltas: [1_000, 2_000, 3_000, 500],
}

test("a function's time is the sum over all places that it was called from, the largest first", () => {
  expect(selfTimes(profile, { from: 0, to: Infinity })).toEqual([
    { name: "claim (packages/server/dist/engine.js:120)", ms: 4 },
    { name: "(idle)", ms: 2 },
    { name: "(anonymous) (node:net:2)", ms: 0.5 },
  ])
})

test("what lies outside of the window does not count", () => {
  expect(selfTimes(profile, { from: 1_002_000, to: 1_006_000 })).toEqual([
    { name: "claim (packages/server/dist/engine.js:120)", ms: 3 },
    { name: "(idle)", ms: 2 },
  ])
})
