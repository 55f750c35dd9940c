import { modelErrors, type ModelErrorType } from "@tintype/protocol"
import { resolve } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

interface Reply {
  status: number
  headers: Headers
  body: Record<string, unknown>
}

interface LogLine {
  message: string
  level: string
  source: string
  timestamp: string
  labels: Record<string, string>
}

const apps = ["faults.ts", "probe.ts"].map((name) => resolve(import.meta.dirname, "../apps", name))

const notes = (logs: LogLine[]) =>
  logs.filter(({ labels }) => labels["source"] === "gateway").map(({ message }) => message)

describe("what can go wrong with an attempt", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess({
      args: ["--apps", apps.join(","), "--runner-slots", "2"],
      config: {
        timing: {
          retryMinMs: 10,
          retryMaxMs: 40,
          graceMs: 300,
          stopRunnerEveryMs: 0,
          // A runner that is silent for longer than both together, and late, counts as blocked.
          renewEveryMs: 200,
          acceptMs: 2_000,
        },
      },
    })
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  async function call(
    method: string,
    path: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const read = (await response.json()) as Record<string, unknown>
    return { status: response.status, headers: response.headers, body: read }
  }

  /** Submits and waits for the end; the result, and the final status with its logs. */
  async function outcome(path: string, input: object, headers: Record<string, string> = {}) {
    const submitted = await call("POST", `/queue/test/faults${path}`, input, headers)
    expect(submitted.status).toBe(200)
    const url = `/queue/test/faults/requests/${String(submitted.body["request_id"])}`
    let status = await call("GET", `${url}/status?logs=1`, undefined, { prefer: "wait=20" })
    while (status.body["status"] !== "COMPLETED") {
      status = await call("GET", `${url}/status?logs=1`, undefined, { prefer: "wait=20" })
    }
    const logs = status.body["logs"] as LogLine[]
    return { url, result: await call("GET", url), status: status.body, logs }
  }

  /** Takes both slots of the runner; the returned function gives them back. */
  async function takeSlots(): Promise<() => Promise<void>> {
    const urls: string[] = []
    for (let slot = 0; slot < 2; slot += 1) {
      const { body } = await call("POST", "/queue/test/probe", { duration_ms: 60_000 })
      const url = `/queue/test/probe/requests/${String(body["request_id"])}`
      urls.push(url)
      let status = await call("GET", `${url}/status`)
      while (status.body["status"] === "IN_QUEUE") status = await call("GET", `${url}/status`)
    }
    return async () => {
      for (const url of urls) {
        await call("PUT", `${url}/cancel`)
        await call("GET", url, undefined, { prefer: "wait=20" })
      }
    }
  }

  it.each(Object.keys(modelErrors) as ModelErrorType[])(
    "a thrown %s has its documented status, body and headers",
    async (type) => {
      const { status, ctx } = modelErrors[type]
      const { result } = await outcome("/typed", { type }, { "x-fal-no-retry": "1" })
      const { retryable } = modelErrors[type]
      expect(result.status).toBe(status)
      expect(result.headers.get("x-fal-retryable")).toBe(String(retryable === true))
      const needsRetry = retryable === true ? "1" : "0"
      expect(result.headers.get("x-fal-needs-retry")).toBe(status >= 500 ? needsRetry : null)
      expect(result.body["detail"]).toMatchObject([
        { type, loc: ["body", "type"], url: `https://docs.fal.ai/errors/#${type}` },
      ])
      const [told] = result.body["detail"] as { ctx?: object }[]
      expect(Object.keys(told?.ctx ?? {})).toEqual([...ctx])
    },
  )

  it("an exception is 500 without its stack, which is in the request's log", async () => {
    const { result, logs, status } = await outcome("/throw", {})
    expect(result.status).toBe(500)
    expect(result.body).toMatchObject({
      detail: "Internal Server Error",
      error_type: "runner_server_error",
      request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(JSON.stringify([result.body, status["error"]])).not.toContain("secret")
    const [line] = logs
    expect(line).toMatchObject({ level: "ERROR", source: "USER" })
    expect(line?.message).toMatch(/secret of the stack\n\s+at /)
  })

  it("a 503 is tried again on another runner, and the log says why", async () => {
    const before = await call("POST", "/run/test/faults", {})
    const { result, logs } = await outcome("", { status: 503, times: 2 })
    expect(result).toMatchObject({ status: 200, body: { attempt: 3 } })
    expect(notes(logs)).toHaveLength(2)
    expect(notes(logs)[0]).toMatch(/^Attempt 1 ended: the app answered with status 503; back/)
    expect(result.body["pid"]).not.toBe(before.body["pid"])
  })

  it.each([
    ["a 504", 504, {}, 10],
    ["a 500", 500, {}, 1],
    ["a 500 that asks for it", 500, { "X-Fal-Needs-Retry": "1" }, 10],
    ["a 429", 429, {}, 1],
    ["a 429 that asks for it", 429, { "x-fal-needs-retry": "1" }, 10],
    ["a 503 that declines", 503, { "x-fal-needs-retry": "0", "x-fal-stop-runner": "0" }, 1],
    ["a 400 that asks for it", 400, { "x-fal-needs-retry": "1" }, 1],
  ])(
    "%s has its attempts, and the last answer is shown verbatim",
    async (_, status, headers, n) => {
      const { result, status: told } = await outcome("", { status, headers })
      expect(result).toMatchObject({ status, body: { detail: `fault ${n}` } })
      expect(told).toMatchObject({ error: `fault ${n}` })
      const asked = Object.values(headers)[0] ?? null
      expect(result.headers.get("x-fal-needs-retry")).toBe(status === 400 ? null : asked)
      expect(result.headers.get("x-fal-stop-runner")).toBeNull()
    },
  )

  it("a caller who wants no retry gets none, and neither does the run door", async () => {
    const input = { status: 503, headers: { "x-fal-stop-runner": "0" } }
    for (const value of ["1", "true", "yes"]) {
      const { result } = await outcome("", input, { "X-Fal-No-Retry": value })
      expect(result).toMatchObject({ status: 503, body: { detail: "fault 1" } })
    }
    const run = await call("POST", "/run/test/faults", input)
    expect(run).toMatchObject({ status: 503, body: { detail: "fault 1" } })
    // What the queue would have tried again is its caller's to repeat.
    expect(run.headers.get("x-fal-needs-retry")).toBe("1")
    expect(run.headers.get("x-fal-retryable")).toBe("true")
  })

  it("an attempt that takes too long is aborted and tried again; the run door gets 504", async () => {
    const { result, logs } = await outcome("/slow", { times: 1 })
    expect(result).toMatchObject({ status: 200, body: { attempt: 2 } })
    expect(notes(logs)[0]).toContain("Attempt 1 ended: it took too long; back in the queue")
    const run = await call("POST", "/run/test/faults/slow", {})
    expect(run).toMatchObject({ status: 504, body: { error_type: "request_timeout" } })
    expect(run.body["request_id"]).toBe(run.headers.get("x-fal-request-id"))
    expect(run.headers.get("x-fal-request-timeout-type")).toBeNull()
  })

  it("an app that ignores its timeout costs its process, and the next attempt has a new one", async () => {
    const before = await call("POST", "/run/test/faults", {})
    const { result } = await outcome("/slow", { times: 1, heeds: false })
    expect(result).toMatchObject({ status: 200, body: { attempt: 2 } })
    expect(result.body["pid"]).not.toBe(before.body["pid"])
    await server.logged((entry) => entry["event"] === "runner_retired")
  })

  it("an app that never yields is killed with its process when its time is over", async () => {
    const before = await call("POST", "/run/test/faults", {})
    const { result, logs } = await outcome("/spin", { times: 1 })
    expect(result).toMatchObject({ status: 200, body: { attempt: 2 } })
    expect(result.body["pid"]).not.toBe(before.body["pid"])
    expect(notes(logs)).toEqual([expect.stringMatching(/^Attempt 1 ended: it took too long; back/)])
    expect(await call("POST", "/run/test/faults/spin", {})).toMatchObject({
      status: 504,
      body: { error_type: "request_timeout" },
    })
    const after = await call("POST", "/run/test/faults", {})
    expect(after.status).toBe(200)
    expect(after.body["pid"]).not.toBe(result.body["pid"])
  })

  it("an app that never yields ends 499 when it is cancelled, and the next call has a new process", async () => {
    const before = await call("POST", "/run/test/faults", {})
    const submitted = await call("POST", "/queue/test/faults/spin", {})
    const url = `/queue/test/faults/requests/${String(submitted.body["request_id"])}`
    let status = await call("GET", `${url}/status`)
    while (status.body["status"] === "IN_QUEUE") status = await call("GET", `${url}/status`)
    expect((await call("PUT", `${url}/cancel`)).status).toBe(202)
    const result = await call("GET", url, undefined, { prefer: "wait=10" })
    expect(result).toMatchObject({ status: 499, body: { error_type: "client_cancelled" } })
    const after = await call("POST", "/run/test/faults", {})
    expect(after.body["pid"]).not.toBe(before.body["pid"])
  })

  it("an app that ignores a cancel ends 499, and its process is replaced", async () => {
    const before = await call("POST", "/run/test/faults", {})
    const submitted = await call("POST", "/queue/test/faults/slow", { heeds: false })
    const url = `/queue/test/faults/requests/${String(submitted.body["request_id"])}`
    let status = await call("GET", `${url}/status`)
    while (status.body["status"] === "IN_QUEUE") status = await call("GET", `${url}/status`)
    const cancelled = await call("PUT", `${url}/cancel`)
    expect(cancelled).toMatchObject({ status: 202, body: { status: "CANCELLATION_REQUESTED" } })
    const result = await call("GET", url, undefined, { prefer: "wait=10" })
    expect(result).toMatchObject({ status: 499, body: { error_type: "client_cancelled" } })
    const after = await outcome("", {})
    expect(after.result.body["pid"]).not.toBe(before.body["pid"])
  })

  it("a start deadline that passes is 504 with the user's mark, which the client knows", async () => {
    const { fal, calls } = officialClient(server.url)
    const giveBack = await takeSlots()
    const submitted = await call(
      "POST",
      "/queue/test/faults",
      {},
      {
        "X-Fal-Request-Timeout": "60",
        "X-Fal-Request-Start-Timeout": "0.1",
      },
    )
    const requestId = String(submitted.body["request_id"])
    const status = await call("GET", `/queue/test/faults/requests/${requestId}/status`, undefined, {
      prefer: "wait=5",
    })
    expect(status.body).toMatchObject({ status: "COMPLETED", error_type: "startup_timeout" })
    const failed = await fal.queue.result("test/faults", { requestId }).then(
      () => null,
      (error: unknown) => error,
    )
    expect(failed).toMatchObject({ status: 504, isUserTimeout: true, requestId })
    expect(calls).toHaveLength(1)
    const run = await call("POST", "/run/test/faults", {}, { "x-fal-request-timeout": "0.1" })
    expect(run.status).toBe(504)
    expect(run.headers.get("x-fal-request-timeout-type")).toBe("user")
    await giveBack()
  })

  it("a queue that is too long refuses with 429, and low priority waits for normal", async () => {
    const giveBack = await takeSlots()
    const path = "/queue/test/faults"
    const normal = { "X-Fal-Queue-Priority": "normal" }
    const low = await call("POST", path, {}, { "X-Fal-Queue-Priority": "low" })
    const refused = await call("POST", `${path}?fal_max_queue_length=0`, {})
    expect(refused).toMatchObject({
      status: 429,
      body: { error_type: "queue_too_long", retry_after: 5 },
    })
    expect(refused.headers.get("retry-after")).toBe("5")
    const first = await call("POST", `${path}?fal_max_queue_length=1`, {}, normal)
    expect([low, first].map(({ body }) => body["queue_position"])).toEqual([0, 0])
    const status = await call("GET", `${path}/requests/${String(low.body["request_id"])}/status`)
    expect(status.body).toMatchObject({ status: "IN_QUEUE", queue_position: 1 })
    await giveBack()
    for (const { body } of [low, first]) {
      const url = `${path}/requests/${String(body["request_id"])}`
      expect((await call("GET", url, undefined, { prefer: "wait=20" })).status).toBe(200)
    }
  })

  it("logs have levels, source, labels and order, up to 1 MiB with one mark", async () => {
    const { logs, url } = await outcome("/log", { lines: 64, bytes: 20_000 })
    expect(logs.slice(0, 4)).toMatchObject([
      { message: "labelled", level: "WARN", source: "USER", labels: { part: "one" } },
      { message: "printed", level: "STDOUT", source: "USER" },
      { message: "printed as an error", level: "STDERR" },
      { message: "a detail", level: "DEBUG" },
    ])
    const numbered = logs.filter(({ message }) => /^\d+ x/.test(message))
    expect(numbered.map(({ message }) => Number.parseInt(message, 10))).toEqual(
      numbered.map((_, index) => index),
    )
    const bytes = logs.reduce((sum, { message }) => sum + message.length, 0)
    expect(bytes).toBeGreaterThan(1_000_000)
    expect(bytes).toBeLessThan(1024 * 1024 + 1_000)
    expect(logs.filter(({ message }) => message.includes("cut here"))).toHaveLength(1)
    expect(logs.at(-1)?.message).toContain("cut here")
    for (const [query, shown] of [
      ["logs=1", true],
      ["logs=true", true],
      ["logs=0", false],
      ["logs=false", false],
      ["", false],
    ] as const) {
      const { body } = await call("GET", `${url}/status?${query}`)
      expect([Array.isArray(body["logs"]), body["logs"] === null]).toEqual([shown, !shown])
    }
  })

  it("a log has 1 MiB for all attempts of its request together", async () => {
    const { logs, result } = await outcome("/log", { lines: 40, bytes: 20_000, times: 1 })
    expect(result).toMatchObject({ status: 200, body: { attempt: 2 } })
    const bytes = logs.reduce((sum, { message }) => sum + message.length, 0)
    expect(bytes).toBeGreaterThan(1_000_000)
    expect(bytes).toBeLessThan(1024 * 1024 + 1_000)
    expect(logs.filter(({ message }) => message.includes("cut here"))).toHaveLength(1)
    expect(notes(logs)).toHaveLength(1)
  })

  it("a 5xx of the gateway itself names a request too", async () => {
    const { status, body, headers } = await call("GET", "/rest/workflows/")
    expect(status).toBe(501)
    expect(body["request_id"]).toBe(headers.get("x-fal-request-id"))
  })
})
