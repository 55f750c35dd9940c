import { AssertionError } from "node:assert"
import { isTerminal, platformErrors, requestStates } from "@tintype/protocol"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type Door, doorPolicies } from "./door.ts"
import {
  type AttemptResult,
  type NewRequest,
  type RequestRecord,
  requeueReasons,
} from "./request.ts"
import {
  type Transition,
  concludeAttempt,
  endAtRestart,
  endAtStartDeadline,
  endAttempt,
  enqueue,
  failQueued,
  requestCancel,
  startAttempt,
} from "./transitions.ts"

const body = { inline: new TextEncoder().encode("{}") }

function newRequest(door: Door): NewRequest {
  return {
    id: "764cabcf-b745-4b3e-ae38-1200304cf45b",
    account: "local",
    door,
    app: "fal-ai/flux",
    endpoint: "fal-ai/flux/dev",
    path: "/dev",
    priority: "low",
    input: body,
    headers: { "x-my": "header" },
    fileBase: "http://127.0.0.1:3250/files",
  }
}

const queued = (door: Door) => enqueue(newRequest(door), { turn: 5, sequence: 9 }, 1_000)
const holder = { lease: "lease-1", session: "session-1" }
const running = (door: Door) => startAttempt(queued(door), holder, 2_000)

function answered(status: number): AttemptResult {
  return { kind: "answered", status, headers: { "x-a": "b" }, body, inferenceMs: 40 }
}

type Failure = Extract<AttemptResult, { kind: "failed" }>

function broken(reason: Failure["reason"]): AttemptResult {
  return { kind: "failed", reason, detail: "it broke", inferenceMs: 40 }
}

function cancelRequested(door: Door): RequestRecord {
  return requestCancel(running(door), "client_cancelled", 2_500).transition!.record
}

describe("a new request", () => {
  test("is queued at its place, without attempts", () => {
    expect(queued("queue")).toEqual({
      id: "764cabcf-b745-4b3e-ae38-1200304cf45b",
      sequence: 9,
      account: "local",
      door: "queue",
      app: "fal-ai/flux",
      endpoint: "fal-ai/flux/dev",
      path: "/dev",
      priority: "low",
      webhook: null,
      turn: 5,
      state: "queued",
      attempts: 0,
      attemptsCounted: 0,
      attempt: null,
      cancelRequest: null,
      noRetry: false,
      notBefore: null,
      startDeadline: null,
      storeIo: true,
      lifecycle: null,
      submittedAt: 1_000,
      finishedAt: null,
      outcome: null,
      version: 1,
    })
  })
})

describe("an attempt", () => {
  test("is numbered and bound to its lease", () => {
    expect(running("queue")).toEqual({
      ...queued("queue"),
      state: "running",
      attempts: 1,
      attemptsCounted: 1,
      attempt: { number: 1, ...holder, startedAt: 2_000 },
      version: 2,
    })
  })

  test.each([
    [200, "succeeded"],
    [307, "succeeded"],
    [404, "failed"],
    [422, "failed"],
    [429, "failed"],
    [500, "failed"],
    [502, "failed"],
  ])("that was answered with %i ends the request %s, with the answer as it is", (status, state) => {
    const { record, output, note } = concludeAttempt(running("queue"), answered(status), 3_000)
    expect(record).toMatchObject({ state, attempt: null, finishedAt: 3_000, version: 3 })
    expect(record.outcome).toMatchObject({ status, headers: { "x-a": "b" }, inferenceMs: 40 })
    expect(record.outcome).not.toHaveProperty("body")
    expect(output).toBe(body)
    expect(note).toBeNull()
  })

  test("that was answered counts although a cancel was asked for", () => {
    const { record } = concludeAttempt(cancelRequested("queue"), answered(200), 3_000)
    expect(record.state).toBe("succeeded")
  })

  test.each([
    ["exception", "runner_server_error", 500],
    ["incomplete_response", "runner_incomplete_response", 502],
  ] as const)("that ended by %s fails the request", (reason, errorType, status) => {
    const { record, output } = concludeAttempt(running("queue"), broken(reason), 3_000)
    expect(record.state).toBe("failed")
    expect(record.outcome).toMatchObject({ status, errorType, inferenceMs: 40 })
    expect(output).not.toBeNull()
  })

  test("that was aborted at the caller's wish ends the request cancelled", () => {
    const { record } = concludeAttempt(cancelRequested("queue"), broken("aborted"), 3_000)
    expect(record.state).toBe("cancelled")
    expect(record.outcome).toMatchObject({
      status: 499,
      errorType: "client_cancelled",
      inferenceMs: 40,
    })
  })

  test("that was aborted by the runner's own end is not counted", () => {
    const { record } = concludeAttempt(running("queue"), broken("aborted"), 3_000)
    expect(record).toMatchObject({ state: "queued", attempts: 1, attemptsCounted: 0 })
  })

  test("whose runner does not know the app counts as lost", () => {
    const { record } = concludeAttempt(running("queue"), broken("unknown_app"), 3_000)
    expect(record).toMatchObject({ state: "queued", attempts: 1, attemptsCounted: 1 })
  })

  test("cannot start twice, nor end without a start", () => {
    expect(() => startAttempt(running("queue"), holder, 3_000)).toThrow(/running/)
    expect(() => concludeAttempt(queued("queue"), answered(200), 3_000)).toThrow(/queued/)
    expect(() => endAttempt(queued("queue"), "lost", 3_000)).toThrow(/queued/)
  })

  test("is held by someone while it runs", () => {
    const unheld = { ...running("queue"), attempt: null }
    expect(() => endAttempt(unheld, "lost", 3_000)).toThrow(AssertionError)
  })
})

describe("an attempt worth another one", () => {
  test.each([
    ["an answer of 503", answered(503), "the app answered with status 503"],
    ["an answer of 504", answered(504), "the app answered with status 504"],
    ["a timeout", broken("timed_out"), "it took too long"],
    ["a runner without the app", broken("unknown_app"), "its runner does not host the app"],
  ])("puts the request back at its place until its backoff is over [%s]", (_, result, why) => {
    const { record, output, note } = concludeAttempt(running("queue"), result, 3_000, 1_250)
    expect(record).toEqual({
      ...queued("queue"),
      attempts: 1,
      attemptsCounted: 1,
      notBefore: 4_250,
      version: 3,
    })
    expect(output).toBeNull()
    expect(note).toBe(`Attempt 1 ended: ${why}; back in the queue, tried again in 1.3 s`)
    expect(startAttempt(record, holder, 4_250).notBefore).toBeNull()
  })

  test.each([
    [answered(503), "transient", 503, "runner_server_error"],
    [answered(504), "transient", 504, "runner_server_error"],
    [broken("timed_out"), "timed_out", null, "request_timeout"],
    [broken("unknown_app"), "unhosted", null, "runner_disconnected"],
    [broken("aborted"), "stopped", null, "server_stopping"],
  ] as const)("is told with its reason (%o: %s)", (result, reason, status, errorType) => {
    const { requeued } = concludeAttempt(running("queue"), result, 3_000, 1_250)
    expect(requeued).toEqual({
      number: 1,
      session: "session-1",
      startedAt: 2_000,
      endedAt: 3_000,
      reason,
      status,
      errorType,
    })
    expect(requeueReasons).toContain(reason)
  })

  test("names the error that the app gave its answer", () => {
    const named = { ...answered(503), headers: { "x-fal-error-type": "model_not_loaded" } }
    const { requeued } = concludeAttempt(running("queue"), named, 3_000)
    expect(requeued).toMatchObject({ reason: "transient", errorType: "model_not_loaded" })
  })

  test("shows the last answer as it is when there is no other attempt", () => {
    let record = queued("queue")
    for (let number = 1; number <= 9; number += 1) {
      record = concludeAttempt(startAttempt(record, holder, number), answered(503), number).record
      expect(record.state).toBe("queued")
    }
    const last = concludeAttempt(startAttempt(record, holder, 10), answered(504), 10)
    expect(last.record).toMatchObject({ state: "failed", attempts: 10, attemptsCounted: 10 })
    expect(last.record.outcome).toMatchObject({ status: 504 })
    expect(last.record.outcome?.headers).toEqual({ "x-a": "b" })
    expect(last.output).toBe(body)
  })

  test.each([
    ["timed_out", 504, "request_timeout"],
    ["unknown_app", 503, "runner_disconnected"],
  ] as const)("of the run door fails at once [%s]", (reason, status, errorType) => {
    const { record } = concludeAttempt(running("run"), broken(reason), 3_000, 1_000)
    expect(record).toMatchObject({ state: "failed", outcome: { status, errorType } })
  })

  test.each([
    [503, {}, { "x-fal-retryable": "true", "x-fal-needs-retry": "1" }],
    [504, {}, { "x-fal-retryable": "true", "x-fal-needs-retry": "1" }],
    [503, { "x-fal-needs-retry": "0" }, { "x-fal-needs-retry": "0" }],
    [500, {}, {}],
    [200, {}, {}],
  ])("of the run door is its caller's to repeat, unless the app declines [%i %o]", (...row) => {
    const [status, own, told] = row
    const result = { ...answered(status), headers: own }
    const { record } = concludeAttempt(running("run"), result, 3_000, 1_000)
    expect(record.outcome).toMatchObject({ status })
    expect(record.outcome?.headers).toEqual(told)
  })

  test("of a caller who wants no retry is the only one", () => {
    const once = enqueue({ ...newRequest("queue"), noRetry: true }, { turn: 1, sequence: 1 }, 1)
    const { record } = concludeAttempt(startAttempt(once, holder, 2), answered(503), 3)
    expect(record).toMatchObject({ state: "failed", outcome: { status: 503 } })
    const lost = endAttempt(startAttempt(once, holder, 2), "lost", 3).record
    expect(lost).toMatchObject({ state: "failed", outcome: { errorType: "runner_disconnected" } })
  })

  test.each([answered(503), broken("timed_out"), broken("unknown_app")])(
    "with a cancel pending ends the request cancelled",
    (result) => {
      for (const door of ["queue", "run"] as const) {
        const { record } = concludeAttempt(cancelRequested(door), result, 3_000, 1_000)
        expect(record).toMatchObject({ state: "cancelled", outcome: { inferenceMs: 40 } })
      }
    },
  )
})

const due = (door: Door) =>
  enqueue({ ...newRequest(door), startTimeoutMs: 500 }, { turn: 5, sequence: 9 }, 1_000)

describe("a start deadline", () => {
  test.each(["queue", "run"] as const)("ends a queued request with 504 [%s]", (door) => {
    expect(due(door).startDeadline).toBe(1_500)
    expect(endAtStartDeadline(due(door), 1_499)).toBeNull()
    const { record, output } = endAtStartDeadline(due(door), 1_500)!
    expect(record).toMatchObject({ state: "failed", finishedAt: 1_500, version: 2 })
    expect(record.outcome).toMatchObject({
      status: 504,
      errorType: "startup_timeout",
      error: "The request did not start within 0.5 s",
    })
    expect(record.outcome!.headers["x-fal-request-timeout-type"]).toBe("user")
    expect(output).not.toBeNull()
  })

  test("counts across attempts, and does not end one that runs", () => {
    const runs = startAttempt(due("queue"), holder, 1_400)
    expect(endAtStartDeadline(runs, 9_000)).toBeNull()
    const back = endAttempt(runs, "lost", 1_450, 1_000).record
    expect(back).toMatchObject({ notBefore: 2_450, startDeadline: 1_500 })
    expect(endAtStartDeadline(back, 1_500)!.record).toMatchObject({
      state: "failed",
      notBefore: null,
    })
  })

  test("that nobody set never comes", () => {
    expect(endAtStartDeadline(queued("queue"), Number.MAX_SAFE_INTEGER)).toBeNull()
  })
})

describe("a lost attempt", () => {
  test("puts a queue request back at its place and says why", () => {
    const { record, output, note, requeued } = endAttempt(running("queue"), "lost", 3_000)
    expect(record).toEqual({
      ...queued("queue"),
      attempts: 1,
      attemptsCounted: 1,
      version: 3,
    })
    expect(output).toBeNull()
    expect(requeued).toMatchObject({ number: 1, reason: "lost", errorType: "runner_disconnected" })
    expect(note).toBe("Attempt 1 ended: the runner was lost; back in the queue")
  })

  test("of a run fails with 503 and asks for a retry", () => {
    const { record } = endAttempt(running("run"), "lost", 3_000)
    expect(record.state).toBe("failed")
    expect(record.outcome).toMatchObject({ status: 503, errorType: "runner_disconnected" })
    expect(record.outcome!.headers["x-fal-needs-retry"]).toBe("1")
  })

  test("that is the tenth fails the request", () => {
    let record = queued("queue")
    for (let number = 1; number <= 10; number += 1) {
      expect(record.state).toBe("queued")
      record = endAttempt(startAttempt(record, holder, number), "lost", number).record
    }
    expect(record).toMatchObject({ state: "failed", attempts: 10, attemptsCounted: 10 })
    expect(record.outcome).toMatchObject({ status: 503, errorType: "runner_disconnected" })
  })

  test.each(["lost", "stopped"] as const)(
    "with a cancel pending ends the request cancelled, it never runs again [%s]",
    (cause) => {
      const { record } = endAttempt(cancelRequested("queue"), cause, 3_000)
      expect(record).toMatchObject({ state: "cancelled", attempt: null })
      expect(record.outcome).toMatchObject({ status: 499, errorType: "client_cancelled" })
    },
  )
})

describe("an attempt that our own stop ended", () => {
  test("is followed by another one at once", () => {
    const { record, note, requeued } = endAttempt(running("queue"), "stopped", 3_000, 9_000)
    expect(record.notBefore).toBeNull()
    expect(requeued).toMatchObject({ reason: "stopped", errorType: "server_stopping" })
    expect(note).toBe("Attempt 1 ended: the server stopped; back in the queue")
  })

  test("does not count, however often it happens", () => {
    let record = queued("queue")
    for (let number = 1; number <= 50; number += 1) {
      const { record: next, note } = endAttempt(startAttempt(record, holder, 1), "stopped", 1)
      expect(note).toBe(`Attempt ${number} ended: the server stopped; back in the queue`)
      record = next
    }
    expect(record).toMatchObject({ state: "queued", attempts: 50, attemptsCounted: 0 })
    const next = startAttempt(record, holder, 2)
    expect(next.attempt!.number).toBe(51)
    expect(next.attemptsCounted).toBe(1)
  })

  test("of a run tells its caller to try again", () => {
    const { record } = endAttempt(running("run"), "stopped", 3_000)
    expect(record.state).toBe("failed")
    expect(record.outcome).toMatchObject({ status: 429, errorType: "server_stopping" })
    expect(record.outcome!.headers["retry-after"]).toBe("1")
  })
})

describe("a cancel", () => {
  test.each(["client_cancelled", "client_disconnected"] as const)(
    "removes a queued request at once [%s]",
    (cause) => {
      const { verdict, transition } = requestCancel(queued("queue"), cause, 3_000)
      expect(verdict).toBe("removed")
      expect(transition!.record).toMatchObject({ state: "cancelled", finishedAt: 3_000 })
      expect(transition!.record.outcome).toMatchObject({ status: 499, errorType: cause })
      expect(transition!.output).not.toBeNull()
    },
  )

  test("marks a running request, which goes on", () => {
    const { verdict, transition } = requestCancel(running("queue"), "client_cancelled", 3_000)
    expect(verdict).toBe("requested")
    expect(transition).toEqual({
      record: {
        ...running("queue"),
        cancelRequest: { at: 3_000, cause: "client_cancelled" },
        version: 3,
      },
      output: null,
      note: null,
      requeued: null,
    })
  })

  test("asked again of a running request changes nothing", () => {
    const again = requestCancel(cancelRequested("queue"), "client_cancelled", 4_000)
    expect(again).toEqual({ verdict: "requested", transition: null })
  })

  test("comes too late for a finished request, and again for a cancelled one", () => {
    const finished = concludeAttempt(running("queue"), answered(200), 3_000).record
    expect(requestCancel(finished, "client_cancelled", 4_000)).toEqual({
      verdict: "finished",
      transition: null,
    })
    const failed = concludeAttempt(running("queue"), answered(500), 3_000).record
    expect(requestCancel(failed, "client_cancelled", 4_000).verdict).toBe("finished")
    const { record } = requestCancel(queued("queue"), "client_cancelled", 3_000).transition!
    expect(requestCancel(record, "client_cancelled", 4_000)).toEqual({
      verdict: "already_cancelled",
      transition: null,
    })
  })

  test("of a run whose caller left is told as a disconnect", () => {
    const asked = requestCancel(running("run"), "client_disconnected", 2_500).transition!.record
    const { record } = concludeAttempt(asked, broken("aborted"), 3_000)
    expect(record).toMatchObject({ state: "cancelled" })
    expect(record.outcome).toMatchObject({ status: 499, errorType: "client_disconnected" })
  })
})

test.each([
  ["runner_scheduling_failure", 503],
  ["startup_timeout", 504],
] as const)("a request that found no runner fails, unless it started [%s]", (type, status) => {
  const { record } = failQueued(queued("run"), type, 3_000)!
  expect(record).toMatchObject({ state: "failed", finishedAt: 3_000, version: 2 })
  expect(record.outcome).toMatchObject({ status, errorType: type, inferenceMs: null })
  expect(failQueued(running("run"), type, 3_000)).toBeNull()
  expect(failQueued(record, type, 3_000)).toBeNull()
})

describe("a restart of the server", () => {
  test("leaves queue requests alone", () => {
    expect(endAtRestart(queued("queue"), 3_000)).toBeNull()
    expect(endAtRestart(running("queue"), 3_000)).toBeNull()
  })

  test("ends what a run left open, because its caller is gone", () => {
    for (const open of [queued("run"), running("run")]) {
      const { record } = endAtRestart(open, 3_000)!
      expect(record).toMatchObject({ state: "cancelled", attempt: null })
      expect(record.outcome).toMatchObject({ status: 499, errorType: "client_disconnected" })
      expect(endAtRestart(record, 4_000)).toBeNull()
    }
  })
})

type Step = (record: RequestRecord, now: number) => Transition | RequestRecord | null

/** Whatever may happen to a request; null where it has no effect. */
const steps: Record<string, Step> = {
  start: (record, now) => (record.state === "queued" ? startAttempt(record, holder, now) : null),
  restart: (record, now) => endAtRestart(record, now),
  cancel: (record, now) => requestCancel(record, "client_cancelled", now).transition,
  disconnect: (record, now) => requestCancel(record, "client_disconnected", now).transition,
  starve: (record, now) => failQueued(record, "startup_timeout", now),
  "pass the deadline": (record, now) => endAtStartDeadline(record, now),
  ...whileRunning("lose", (record, now) => endAttempt(record, "lost", now, 700)),
  ...whileRunning("answer 503", (record, now) => concludeAttempt(record, answered(503), now, 9)),
  ...whileRunning("time out", (record, now) => concludeAttempt(record, broken("timed_out"), now)),
  ...whileRunning("stop", (record, now) => endAttempt(record, "stopped", now)),
  ...whileRunning("answer 200", (record, now) => concludeAttempt(record, answered(200), now)),
  ...whileRunning("answer 500", (record, now) => concludeAttempt(record, answered(500), now)),
  ...whileRunning("abort", (record, now) => concludeAttempt(record, broken("aborted"), now)),
  ...whileRunning("throw", (record, now) => concludeAttempt(record, broken("exception"), now)),
  ...whileRunning("forget", (record, now) => concludeAttempt(record, broken("unknown_app"), now)),
}

function whileRunning(name: string, step: Step): Record<string, Step> {
  return { [name]: (record, now) => (record.state === "running" ? step(record, now) : null) }
}

function checkInvariants(before: RequestRecord, result: Transition | RequestRecord): RequestRecord {
  const transition =
    "record" in result ? result : { record: result, output: null, note: null, requeued: null }
  const after = transition.record
  expect(isTerminal(before.state)).toBe(false)
  expect(requestStates).toContain(after.state)
  expect(after.version).toBe(before.version + 1)
  expect(after.attempts).toBeGreaterThanOrEqual(after.attemptsCounted)
  expect(after.attemptsCounted).toBeGreaterThanOrEqual(0)
  expect(after.attemptsCounted).toBeLessThanOrEqual(doorPolicies[after.door].attemptsMax)
  expect(after.attempts - before.attempts).toBe(
    before.state === "queued" && after.state === "running" ? 1 : 0,
  )
  expect(after.attempt?.number).toBe(after.state === "running" ? after.attempts : undefined)
  const terminal = isTerminal(after.state)
  expect([after.outcome !== null, after.finishedAt !== null, transition.output !== null]).toEqual([
    terminal,
    terminal,
    terminal,
  ])
  const returned = before.state === "running" && after.state === "queued"
  expect(returned && before.cancelRequest !== null).toBe(false)
  expect(transition.note !== null).toBe(returned)
  // The end of an attempt is told once: here, or by the end of its request.
  expect(transition.requeued?.number).toBe(returned ? before.attempts : undefined)
  expect(typeof after.outcome?.errorType === "string").toBe(
    after.state === "failed" || after.state === "cancelled",
  )
  // Only what waits in the queue waits for a time.
  expect(after.notBefore === null || after.state === "queued").toBe(true)
  const isBack = before.state === "running" && after.state === "queued"
  expect(before.noRetry && isBack && after.attemptsCounted > 0).toBe(false)
  // Who submitted what, and its place, never change.
  const { id, sequence, turn, door, submittedAt, noRetry, startDeadline } = before
  expect(after).toMatchObject({ id, sequence, turn, door, submittedAt, noRetry, startDeadline })
  return after
}

test("whatever happens: terminal is final, versions rise by one, a cancel is never forgotten", () => {
  const names = fc.array(fc.constantFrom(...Object.keys(steps), "start", "start", "lose", "stop"), {
    minLength: 1,
    maxLength: 60,
  })
  const limits = fc.record({
    noRetry: fc.boolean(),
    startTimeoutMs: fc.option(fc.integer({ min: 100, max: 3_000 })),
  })
  fc.assert(
    fc.property(fc.constantFrom<Door>("queue", "run"), names, limits, (door, path, limit) => {
      let record = enqueue({ ...newRequest(door), ...limit }, { turn: 5, sequence: 9 }, 1_000)
      for (const [index, name] of path.entries()) {
        const before = structuredClone(record)
        const result = steps[name]!(record, 3_000 + index)
        expect(record).toEqual(before)
        if (result !== null) record = checkInvariants(record, result)
      }
    }),
    { numRuns: 2_000 },
  )
})

test("every end that the platform gives is one of the catalogue", () => {
  const ends = [
    endAttempt(running("run"), "lost", 1),
    endAttempt(running("run"), "stopped", 1),
    concludeAttempt(running("queue"), broken("exception"), 1),
    requestCancel(queued("queue"), "client_cancelled", 1).transition!,
    failQueued(queued("queue"), "startup_timeout", 1)!,
  ]
  for (const { record } of ends) expect(platformErrors).toHaveProperty(record.outcome!.errorType!)
})
