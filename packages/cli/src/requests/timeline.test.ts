import { describe, expect, test } from "vitest"
import { readHistory } from "./history.ts"
import { formatTimeline } from "./timeline.ts"

const start = Date.parse("2026-01-01T03:00:00.000Z")
const at = (ms: number) => new Date(start + ms).toISOString()
const runner = { pid: 7, build: "0123456789abcdef", started_at: at(-3_600_000) }
const who = "runner 7 (up 1 h, build 01234567)"

const base = {
  request_id: "r1",
  endpoint: "acme/painter",
  door: "queue",
  priority: "normal",
  state: "queued",
  queue_position: null,
  submitted_at: at(0),
  not_before: null,
  start_deadline: null,
  finished_at: null,
  attempts_made: 0,
  cancel_request: null,
  outcome: null,
  input_bytes: 20,
  output_bytes: null,
  attempts: [],
  webhook: null,
}

const attempt = {
  number: 1,
  runner,
  session: "s1",
  started_at: at(5),
  ended_at: at(105),
  outcome: "succeeded",
  reason: null,
  status: 200,
  error_type: null,
}

/** The lines after the head, without their times. */
function texts(fields: object, afterMs = 10_000): string[] {
  const lines = formatTimeline(readHistory({ ...base, ...fields }), start + afterMs).split("\n")
  return lines.slice(lines.indexOf("") + 1, -1).map((line) => line.slice(39))
}

function ended(state: string, outcome: object, others: object = {}): object {
  return {
    state,
    finished_at: at(105),
    attempts_made: 1,
    outcome: { error: null, error_type: null, inference_time: 0.1, ...outcome },
    attempts: [{ ...attempt, outcome: state }],
    ...others,
  }
}

test("each line has its time and how long after the submit it was, now at the end", () => {
  const running = { ...attempt, ended_at: null, outcome: null, status: null }
  const history = { ...base, state: "running", attempts_made: 1, attempts: [running] }
  expect(formatTimeline(readHistory(history), start + 90_005)).toBe(
    [
      "r1  running for 1 min 30 s",
      "acme/painter  queue door, normal priority, input 20 B",
      "",
      "2026-01-01 03:00:00.000         +0 ms  queued",
      `2026-01-01 03:00:00.005         +5 ms  attempt 1 on ${who}, after 5 ms in the queue`,
      "now                       +1 min 30 s  attempt 1 runs, for 1 min 30 s by now",
      "",
    ].join("\n"),
  )
})

describe("an attempt that was not the last", () => {
  test.each([
    ["lost", null, "attempt 1 lost after 100 ms: its runner died or was cut off"],
    [
      "stopped",
      null,
      "attempt 1 stopped after 100 ms: its runner or the server shut down; it does not count",
    ],
    ["timed_out", null, "attempt 1 timed out after 100 ms"],
    ["unhosted", null, "attempt 1 given back after 100 ms: its runner does not host the app"],
    ["transient", 503, "attempt 1 answered 503 in 100 ms (asleep): tried again"],
    ["word of a newer server", null, "attempt 1 ended after 100 ms: word of a newer server"],
  ])("says why: %s", (reason, status, text) => {
    const first = { ...attempt, outcome: "requeued", reason, status, error_type: "asleep" }
    const second = { ...attempt, number: 2, started_at: at(605), ended_at: at(3_805) }
    const finished_at = at(3_805)
    const others = { finished_at, attempts_made: 2, attempts: [first, second] }
    expect(texts(ended("succeeded", { status: 200 }, others))).toEqual([
      "queued",
      `attempt 1 on ${who}, after 5 ms in the queue`,
      text,
      `attempt 2 on ${who}, retried after 500 ms`,
      "attempt 2 answered 200 in 3.2 s",
    ])
  })

  test("whose runner is forgotten, or made before records were kept, says so", () => {
    const second = { ...attempt, number: 2, runner: null, outcome: "succeeded" }
    const others = { attempts_made: 2, attempts: [second], output_bytes: 5_000_000 }
    const history = readHistory({ ...base, ...ended("succeeded", { status: 200 }, others) })
    const [head, facts, missing, gap, , line] = formatTimeline(history, start).split("\n")
    expect([head, gap]).toEqual(["r1  succeeded after 105 ms", ""])
    expect(facts).toMatch(/input 20 B, output 4\.8 MiB$/)
    expect(missing).toBe("1 attempt of an older build left no record")
    expect(line).toMatch(
      /attempt 2 on a runner no longer known \(session s1\), retried after 5 ms$/,
    )
  })
})

describe("an end", () => {
  const failure = { status: 500, error: "no\nway", error_type: "runner_server_error" }

  test("by the app's or the platform's error is told with its text", () => {
    const lines = texts(ended("failed", failure))
    expect(lines.at(-1)).toBe("attempt 1 failed with 500 runner_server_error after 100 ms: no way")
  })

  test("in the queue names no attempt, also when one was made before", () => {
    const first = { ...attempt, outcome: "requeued", reason: "lost" }
    const others = { finished_at: at(900), attempts: [first] }
    const outcome = { status: 504, error: "late", error_type: "startup_timeout" }
    expect(texts(ended("failed", outcome, others)).slice(-2)).toEqual([
      "attempt 1 lost after 100 ms: its runner died or was cut off",
      "failed with 504 startup_timeout in the queue: late",
    ])
  })

  test.each([
    ["client_cancelled", "by its caller"],
    ["client_disconnected", "because its caller went away"],
  ])("by a cancel says whose: %s", (cause, why) => {
    const outcome = { status: 499, error: "gone", error_type: cause }
    const asked = { cancel_request: { at: at(50), cause } }
    expect(texts(ended("cancelled", outcome, asked)).slice(-2)).toEqual([
      `cancel asked for ${why}`,
      `attempt 1 cancelled after 100 ms ${why}`,
    ])
    const waiting = texts(ended("cancelled", outcome, { attempts: [], attempts_made: 0 }))
    expect(waiting).toEqual(["queued", `cancelled in the queue ${why}`])
  })
})

describe("what waits", () => {
  test("says its place, its backoff and its deadline", () => {
    const fields = { queue_position: 3, not_before: at(12_000), start_deadline: at(40_000) }
    expect(texts(fields)).toEqual([
      "queued",
      "waits 2.0 s before it is tried again",
      "3 before it",
      "fails unless it starts within 30.0 s",
    ])
    expect(texts({ queue_position: 0, not_before: at(9_000) })).toEqual([
      "queued",
      "next in its queue",
    ])
  })
})

describe("a webhook", () => {
  const made = { at: at(200), duration_ms: 12, status: 500, error: null, detail: null }
  const refused = { at: at(2_200), duration_ms: 3, status: null }
  const webhook = {
    url: "https://example.com/hook?redacted",
    state: "pending",
    created_at: at(105),
    finished_at: null,
    next_try_at: at(16_000),
    tries: [
      { ...made, number: 1 },
      { ...refused, number: 2, error: "connection", detail: "ECONNREFUSED" },
    ],
  }

  test("is told try by try, and when the next one is", () => {
    expect(texts(ended("succeeded", { status: 200 }, { webhook })).slice(-3)).toEqual([
      "webhook try 1 answered 500 in 12 ms",
      "webhook try 2 failed after 3 ms: connection, ECONNREFUSED",
      "webhook tried again in 6.0 s",
    ])
    const due = { ...webhook, tries: [], next_try_at: at(105) }
    const lines = texts(ended("succeeded", { status: 200 }, { webhook: due }))
    expect(lines.at(-1)).toBe("webhook about to be sent")
  })

  test.each([
    ["delivered", "webhook delivered"],
    ["failed", "webhook refused for good: it is not tried again"],
    ["exhausted", "webhook given up: no retry is left"],
  ])("that is %s says so", (state, text) => {
    const over = { ...webhook, state, next_try_at: null, finished_at: at(2_203) }
    expect(texts(ended("succeeded", { status: 200 }, { webhook: over })).at(-1)).toBe(text)
  })

  test("of a request that has not ended stands in the head alone", () => {
    const before = { url: webhook.url, state: null, try_count: 0, tries: [] }
    const history = readHistory({ ...base, webhook: before })
    const [, , line, gap] = formatTimeline(history, start).split("\n")
    expect([line, gap]).toEqual([`webhook ${webhook.url}`, ""])
    expect(texts({ webhook: before })).toEqual(["queued"])
  })
})
