import { describe, expect, test } from "vitest"
import {
  answerLossMs,
  canBeLost,
  type ClosedConnection,
  endedWithCaller,
  fingerprintText,
  isFoundAgain,
  judgeKey,
  readIdempotencyKey,
  type SubmitFacts,
  wasLost,
  wasLostInCrash,
} from "./idempotency.ts"
import type { CancelCause, RequestRecord } from "./request.ts"

function record(fields: Partial<RequestRecord> = {}): RequestRecord {
  const nothing = { cancelRequest: null, outcome: null, finishedAt: null }
  return { door: "queue", state: "queued", ...nothing, ...fields } as RequestRecord
}

function cancelled(cause: CancelCause): RequestRecord {
  const outcome = { errorType: cause } as RequestRecord["outcome"]
  return record({ state: "cancelled", outcome, finishedAt: 5 })
}

const answered = { errorType: null } as RequestRecord["outcome"]
const succeeded = record({ state: "succeeded", outcome: answered, finishedAt: 5_000 })
const disconnecting = record({
  state: "running",
  cancelRequest: { at: 4, cause: "client_disconnected" },
})

function read(headers: Record<string, string | string[]>) {
  return readIdempotencyKey(headers, 10)
}

function bound(of: RequestRecord) {
  return { record: of, bodyHash: "h", boundAt: 1_000 }
}

describe("an idempotency key", () => {
  test("is read from either header", () => {
    expect(read({})).toEqual({ key: null })
    expect(read({ "idempotency-key": "a b~" })).toEqual({ key: "a b~" })
    expect(read({ "x-idempotency-key": "0123456789" })).toEqual({ key: "0123456789" })
    expect(read({ "idempotency-key": "k", "x-idempotency-key": "k" })).toEqual({ key: "k" })
    expect(read({ "idempotency-key": ["k", "k"] })).toEqual({ key: "k" })
  })

  test.each(["", "01234567890", "a\tb", "schl\u00fcssel", "a\u007f"])("%j is none", (key) => {
    expect(read({ "idempotency-key": key })).toEqual({
      problem: "Idempotency-Key must be 1 to 10 printable ASCII characters",
    })
  })

  test("is one", () => {
    expect(read({ "idempotency-key": "a", "x-idempotency-key": "b" })).toEqual({
      problem: "The headers name different idempotency keys",
    })
  })

  test("stands for its call until it expires", () => {
    expect(judgeKey(null, "h", 1_000, 100)).toBe("new")
    expect(judgeKey(bound(succeeded), "h", 1_099, 100)).toBe("same")
    expect(judgeKey(bound(succeeded), "i", 1_099, 100)).toBe("other_body")
    expect(judgeKey(bound(succeeded), "h", 1_100, 100)).toBe("new")
    expect(judgeKey(bound(succeeded), "i", 1_100, 100)).toBe("new")
  })

  test("is free when what it stands for was given up with its caller", () => {
    expect(judgeKey(bound(cancelled("client_disconnected")), "i", 1_000, 100)).toBe("new")
    expect(judgeKey(bound(disconnecting), "i", 1_000, 100)).toBe("new")
    expect(judgeKey(bound(cancelled("client_cancelled")), "h", 1_000, 100)).toBe("same")
  })
})

test("a request ends with its caller when that is why it was cancelled, or will be", () => {
  const asked = { cancelRequest: { at: 4, cause: "client_disconnected" } } as const
  expect(endedWithCaller(record())).toBe(false)
  expect(endedWithCaller(disconnecting)).toBe(true)
  expect(endedWithCaller(record({ cancelRequest: { at: 4, cause: "client_cancelled" } }))).toBe(
    false,
  )
  expect(endedWithCaller(cancelled("client_disconnected"))).toBe(true)
  expect(endedWithCaller(cancelled("client_cancelled"))).toBe(false)
  // It was done before the cancel reached it.
  expect(endedWithCaller({ ...succeeded, ...asked })).toBe(false)
  expect(endedWithCaller(record({ state: "failed" }))).toBe(false)
})

describe("a fingerprint", () => {
  const facts: SubmitFacts = {
    account: "local",
    door: "queue",
    endpoint: "acme/painter",
    query: "a=1",
    bodyHash: "h",
    headers: {
      "content-type": "application/json",
      "x-fal-queue-priority": "low",
      "x-app-fal-disable-fallback": "1",
      "user-agent": "curl/8",
      date: "today",
    },
  }
  const fingerprint = fingerprintText(facts)

  test("is the same whatever is not the call's own, in whatever order the options come", () => {
    const entries = Object.entries(facts.headers).toReversed()
    const headers = { ...Object.fromEntries(entries), "user-agent": "other", "not-x-fal-": "there" }
    expect(fingerprintText({ ...facts, headers })).toBe(fingerprint)
  })

  test.each<Partial<SubmitFacts>>([
    { account: "other" },
    { door: "run" },
    { endpoint: "acme/painter/small" },
    { query: "a=2" },
    { bodyHash: "i" },
    { headers: { ...facts.headers, "x-fal-queue-priority": "normal" } },
    { headers: { ...facts.headers, "x-app-fal-disable-fallback": "0" } },
    { headers: { ...facts.headers, "x-fal-tags": "a=b" } },
    { headers: { ...facts.headers, "content-type": "text/plain" } },
  ])("is another one with %j", (other) => {
    expect(fingerprintText({ ...facts, ...other })).not.toBe(fingerprint)
  })
})

describe("a submit is lost", () => {
  const closed: ClosedConnection = {
    answeredMs: answerLossMs,
    carriedMore: false,
    endsWithAnswer: false,
    resendsBlindly: true,
    named: false,
    stopping: false,
  }

  test("when its connection closes before the answer was written, whoever calls", () => {
    const unanswered = { ...closed, answeredMs: null, resendsBlindly: false }
    expect(wasLost(unanswered)).toBe(true)
    const rest = { carriedMore: true, endsWithAnswer: true, stopping: true }
    expect(wasLost({ ...unanswered, ...rest })).toBe(true)
    expect(wasLost({ ...unanswered, named: true })).toBe(false)
  })

  test("or soon after, and its caller is one that repeats what it has no answer to", () => {
    expect(wasLost(closed)).toBe(true)
    expect(wasLost({ ...closed, answeredMs: 0 })).toBe(true)
  })

  test.each<Partial<ClosedConnection>>([
    { answeredMs: answerLossMs + 1 },
    { carriedMore: true },
    { endsWithAnswer: true },
    { resendsBlindly: false },
    { named: true },
    { stopping: true },
  ])("but not with %j", (fact) => {
    expect(wasLost({ ...closed, ...fact })).toBe(false)
  })
})

describe("what was lost", () => {
  test("is found again within the window, and not when it ended with its caller", () => {
    expect(isFoundAgain(succeeded, 1_000, 46_000, 45_000)).toBe(true)
    expect(isFoundAgain(succeeded, 1_000, 46_001, 45_000)).toBe(false)
    expect(isFoundAgain(cancelled("client_disconnected"), 1_000, 1_000, 45_000)).toBe(false)
  })

  test("is a request of the queue, or a run that is over", () => {
    expect(canBeLost(record())).toBe(true)
    expect(canBeLost(disconnecting)).toBe(false)
    expect(canBeLost(record({ door: "run", state: "running" }))).toBe(false)
    expect(canBeLost({ ...succeeded, door: "run" })).toBe(true)
    expect(canBeLost(record({ door: "stream", state: "running" }))).toBe(false)
  })

  test("in a crash is what was submitted within the window before, by one that repeats", () => {
    const copy = { record: record(), submittedAt: 1_000, resendsBlindly: true }
    expect(wasLostInCrash(copy, 46_000, 45_000)).toBe(true)
    expect(wasLostInCrash(copy, 46_001, 45_000)).toBe(false)
    const givenUp = { ...copy, record: cancelled("client_disconnected") }
    expect(wasLostInCrash(givenUp, 1_000, 45_000)).toBe(false)
  })

  test("in a crash is of other callers what was submitted in the last moment", () => {
    const copy = { record: record(), submittedAt: 1_000, resendsBlindly: false }
    expect(wasLostInCrash(copy, 1_000 + answerLossMs, 45_000)).toBe(true)
    expect(wasLostInCrash(copy, 1_001 + answerLossMs, 45_000)).toBe(false)
  })

  test.each(["run", "stream"] as const)(
    "in a crash is of a %s what was answered in the last moment",
    (door) => {
      const run = { ...succeeded, door } as const
      const copy = { record: run, submittedAt: 1_000, resendsBlindly: true }
      expect(wasLostInCrash(copy, 5_000 + answerLossMs, 45_000)).toBe(true)
      expect(wasLostInCrash(copy, 5_001 + answerLossMs, 45_000)).toBe(false)
      const open = { ...copy, record: { ...run, finishedAt: null } }
      expect(wasLostInCrash(open, 1_000, 45_000)).toBe(false)
      expect(wasLostInCrash({ ...copy, record: record({ door }) }, 1_000, 45_000)).toBe(false)
    },
  )
})
