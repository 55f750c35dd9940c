import { describe, expect, test } from "vitest"
import {
  isForgotten,
  isResultForgotten,
  largeResultBytes,
  leftoversAt,
  leftoversAtEnd,
  nextDueMs,
  type RetentionPolicy,
} from "./retention.ts"

const policy: RetentionPolicy = {
  requestMs: 10_000,
  inputMs: 2_000,
  resultMs: 3_000,
  unstoredResultMs: 1_000,
  unstoredLargeResultMs: 100,
}
const forEver = { ...policy, requestMs: 0, inputMs: 0, resultMs: 0 }
const stored = leftoversAtEnd(true, 20)
const unstored = leftoversAtEnd(false, 20)
const unstoredLarge = leftoversAtEnd(false, largeResultBytes)

test("a request ends with its input, and with a result unless it has no body", () => {
  expect(stored).toEqual({ storeIo: true, input: true, result: true, large: false })
  expect(leftoversAtEnd(true, null)).toEqual({ ...stored, result: false })
  expect(leftoversAtEnd(false, null)).toEqual({ ...unstored, result: false })
})

test("an unstored result is large from 10 KiB, a stored one makes no difference", () => {
  expect(largeResultBytes).toBe(10_240)
  expect(leftoversAtEnd(false, 10_239).large).toBe(false)
  expect(leftoversAtEnd(false, 10_240).large).toBe(true)
  expect(leftoversAtEnd(true, 10_240).large).toBe(false)
})

describe("what is due", () => {
  test.each([
    ["a stored request: its input first", stored, policy, 2_000],
    ["then its result", { ...stored, input: false }, policy, 3_000],
    ["then all of it", { ...stored, input: false, result: false }, policy, 10_000],
    ["an unstored request: its input at once", unstored, policy, 0],
    ["then its result", { ...unstored, input: false }, policy, 1_000],
    ["a large one sooner", { ...unstoredLarge, input: false }, policy, 100],
    ["0 sets no limit", stored, forEver, Infinity],
    ["0 is as long as the request", stored, { ...forEver, requestMs: 7 }, 7],
    ["the input of an unstored one goes all the same", unstored, forEver, 0],
    [
      "and 0 keeps its result as long as a stored one",
      { ...unstored, input: false },
      { ...policy, unstoredResultMs: 0 },
      3_000,
    ],
    ["nothing outlives its request", stored, { ...policy, requestMs: 5 }, 5],
  ])("%s", (_, left, given, ms) => {
    expect(nextDueMs(left, given)).toBe(ms)
  })

  test.each([
    ["stored, young", stored, 1_999, stored],
    ["stored, without its input", stored, 2_000, { ...stored, input: false }],
    ["stored, its status only", stored, 3_000, { ...stored, input: false, result: false }],
    ["stored, to its last moment", stored, 9_999, { ...stored, input: false, result: false }],
    ["stored, gone", stored, 10_000, null],
    ["unstored, at its end", unstored, 0, { ...unstored, input: false }],
    [
      "unstored, after its result's time",
      unstored,
      1_000,
      { ...unstored, input: false, result: false },
    ],
    ["unstored and large", unstoredLarge, 99, { ...unstoredLarge, input: false }],
    [
      "unstored and large, later",
      unstoredLarge,
      100,
      { ...unstoredLarge, input: false, result: false },
    ],
    [
      "what was taken does not come back",
      { ...stored, result: false },
      0,
      { ...stored, result: false },
    ],
    ["a clock that was set back takes nothing", stored, -5, stored],
  ])("leaves [%s]", (_, left, ageMs, after) => {
    expect(leftoversAt(left, ageMs, policy)).toEqual(after)
  })

  test("something is taken exactly when it is due", () => {
    for (const left of [stored, unstored, unstoredLarge]) {
      const dueMs = nextDueMs({ ...left, input: false }, policy)
      const rest = { ...left, input: false }
      expect(leftoversAt(rest, dueMs - 1, policy)).toEqual(rest)
      expect(leftoversAt(rest, dueMs, policy)).not.toEqual(rest)
    }
  })
})

describe("what the doors tell, whatever was removed already", () => {
  const ended = { state: "succeeded", finishedAt: 50_000, storeIo: true } as const

  test("a request is forgotten from its time on, and never one that has not ended", () => {
    expect(isForgotten(ended, policy, 59_999)).toBe(false)
    expect(isForgotten(ended, policy, 60_000)).toBe(true)
    expect(isForgotten(ended, forEver, 1e15)).toBe(false)
    expect(isForgotten({ state: "running", finishedAt: null }, policy, 1e15)).toBe(false)
    expect(isForgotten({ state: "failed", finishedAt: null }, policy, 1e15)).toBe(false)
  })

  test("a result is, sooner when it was not to be kept, and by its size", () => {
    const bytes = largeResultBytes
    expect(isResultForgotten(ended, bytes, policy, 52_999)).toBe(false)
    expect(isResultForgotten(ended, bytes, policy, 53_000)).toBe(true)
    const kept = { ...ended, storeIo: false }
    expect(isResultForgotten(kept, bytes - 1, policy, 50_999)).toBe(false)
    expect(isResultForgotten(kept, bytes - 1, policy, 51_000)).toBe(true)
    expect(isResultForgotten(kept, bytes, policy, 50_099)).toBe(false)
    expect(isResultForgotten(kept, bytes, policy, 50_100)).toBe(true)
    expect(isResultForgotten({ ...kept, finishedAt: null }, bytes, policy, 1e15)).toBe(false)
  })
})
