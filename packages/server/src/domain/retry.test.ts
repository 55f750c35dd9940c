import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { attemptsTotalMax, backoffMs, isTransient, mayTryAgain, stopsRunner } from "./retry.ts"
import type { AttemptResult } from "./request.ts"

const timing = { retryMinMs: 500, retryMaxMs: 30_000 }
const body = { inline: new Uint8Array(0) }

function answered(status: number, headers: Record<string, string> = {}): AttemptResult {
  return { kind: "answered", status, headers, body, inferenceMs: 1 }
}

describe("the backoff", () => {
  test.each([
    [1, 0, 250],
    [1, 0.5, 375],
    [2, 0, 500],
    [3, 0, 1_000],
    [6, 0, 8_000],
    [7, 0, 15_000],
    [10, 0, 15_000],
    [99, 0, 15_000],
    [0, 0, 250],
  ])("after %i attempts doubles up to its ceiling [random %f: %i ms]", (attempts, random, ms) => {
    expect(backoffMs(timing, attempts, random)).toBe(ms)
  })

  test("is spread between half of the ceiling and all of it, in whole milliseconds", () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), random, (attempts, share) => {
        const ms = backoffMs(timing, attempts, share)
        const ceiling = Math.min(30_000, 500 * 2 ** Math.min(attempts - 1, 30))
        expect(Number.isInteger(ms)).toBe(true)
        expect(ms).toBeGreaterThanOrEqual(ceiling / 2)
        expect(ms).toBeLessThanOrEqual(ceiling)
      }),
    )
  })
})

describe("another attempt", () => {
  const request = { door: "queue", noRetry: false, attempts: 1 } as const

  test.each([
    ["the ninth of the queue", request, 9, true],
    ["the tenth of the queue", request, 10, false],
    ["one of the run door", { ...request, door: "run" as const }, 1, false],
    ["one whose caller wants no other", { ...request, noRetry: true }, 1, false],
    ["none that counted, whose caller wants no other", { ...request, noRetry: true }, 0, true],
    ["one of too many that did not count", { ...request, attempts: attemptsTotalMax }, 0, false],
    ["the last but one of them", { ...request, attempts: attemptsTotalMax - 1 }, 0, true],
  ])("after %s: %s", (_, record, counted, expected) => {
    expect(mayTryAgain(record, counted)).toBe(expected)
  })

  test.each([
    [200, undefined, false],
    [200, "1", false],
    [307, undefined, false],
    [400, undefined, false],
    [422, "1", false],
    [429, undefined, false],
    [429, "1", true],
    [499, "1", false],
    [500, undefined, false],
    [500, "1", true],
    [502, undefined, false],
    [503, undefined, true],
    [503, "0", false],
    [503, "maybe", true],
    [504, undefined, true],
    [504, "0", false],
    [599, "1", true],
  ])("follows an answer of %i with X-Fal-Needs-Retry %s: %s", (status, needsRetry, expected) => {
    const headers: Record<string, string> =
      needsRetry === undefined ? {} : { "x-fal-needs-retry": needsRetry }
    expect(isTransient(answered(status, headers))).toBe(expected)
  })

  test.each([
    ["timed_out", true],
    ["unknown_app", true],
    ["exception", false],
    ["incomplete_response", false],
    ["aborted", false],
  ] as const)("follows an attempt that ended by %s: %s", (reason, expected) => {
    const result = { kind: "failed", reason, detail: "", inferenceMs: 1 } as const
    expect(isTransient(result)).toBe(expected)
  })
})

test.each([
  [200, undefined, false],
  [200, "1", true],
  [500, undefined, false],
  [500, "true", true],
  [503, undefined, true],
  [503, "0", false],
  [503, "false", false],
  [503, "1", true],
  [504, undefined, false],
])("an answer of %i with x-fal-stop-runner %s stops its runner: %s", (status, header, expected) => {
  const headers: Record<string, string> =
    header === undefined ? {} : { "x-fal-stop-runner": header }
  expect(stopsRunner(status, headers)).toBe(expected)
})
