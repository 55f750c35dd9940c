import { platformErrors, type PlatformErrorType } from "@tintype/protocol"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { StoreError } from "../store.ts"
import {
  type HttpAnswer,
  localSecret,
  openTestGateway,
  session,
  type TestGateway,
  type TestGatewayOptions,
} from "./gateway.suite.ts"

const json = { "content-type": "application/json" }
const path = "/queue/fal-ai/flux/dev"

const opened: TestGateway[] = []

async function open(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await openTestGateway(options)
  opened.push(gateway)
  return gateway
}

afterEach(async () => {
  for (const gateway of opened.splice(0)) await gateway.close()
})

/** A direct run whose attempt ends as the test says. */
async function runUntil(
  end: (gateway: TestGateway, id: string) => Promise<unknown>,
  headers: Record<string, string> = {},
): Promise<HttpAnswer> {
  const gateway = await open()
  const submitted = gateway.committed(({ door }) => door === "run")
  const answer = gateway.call("POST", "/run/fal-ai/flux/dev", { body: "{}", headers })
  await end(gateway, (await submitted).id)
  return await answer
}

async function submit(gateway: TestGateway, at = path): Promise<HttpAnswer> {
  return await gateway.call("POST", at, { headers: json, body: "{}" })
}

/** Ways to every 429 and 5xx of the catalogue that this server makes. */
const ways: { [type in PlatformErrorType]?: () => Promise<HttpAnswer> } = {
  request_timeout: () =>
    runUntil(async (gateway) => gateway.settle(await gateway.claim(), { failed: "timed_out" })),
  startup_timeout: () =>
    runUntil(
      async ({ store }) => {
        while ((await store.advance()).ended === 0) await new Promise(setImmediate)
      },
      { "x-fal-request-start-timeout": "0.1" },
    ),
  runner_scheduling_failure: () =>
    runUntil(({ store }, id) => store.failQueued(id, "runner_scheduling_failure")),
  runner_disconnected: () =>
    runUntil(async (gateway) => {
      await gateway.claim()
      await gateway.store.endAttempts(session, "lost")
    }),
  runner_incomplete_response: () =>
    runUntil(async (gateway) =>
      gateway.settle(await gateway.claim(), { failed: "incomplete_response" }),
    ),
  runner_server_error: () =>
    runUntil(async (gateway) => gateway.settle(await gateway.claim(), { failed: "exception" })),
  internal_error: async () => {
    const gateway = await open()
    gateway.store.submit = () => Promise.reject(new Error("a bug"))
    return await submit(gateway)
  },
  concurrent_requests_limit: async () => {
    const gateway = await open({ limits: { concurrencyMax: 1 } })
    await gateway.submit()
    await gateway.claim()
    return await submit(gateway, "/run/fal-ai/flux/dev")
  },
  server_stopping: async () => {
    const gateway = await open()
    await gateway.call("GET", "/v1/models")
    await gateway.store.close()
    return await submit(gateway)
  },
  storage_full: async () => {
    const gateway = await open({ store: { pagesMax: 90 } })
    const body = JSON.stringify("x".repeat(30_000))
    for (;;) {
      const answer = await gateway.call("POST", path, { headers: json, body })
      if (answer.status !== 200) return answer
    }
  },
  request_rate_limit: async () => {
    const gateway = await open({ limits: { requestsPerSecondMax: 1 } })
    await submit(gateway)
    return await submit(gateway)
  },
  queue_too_long: async () => {
    const gateway = await open()
    await submit(gateway)
    return await submit(gateway, `${path}?fal_max_queue_length=0`)
  },
}

/** A runner dials the server, so there is nothing to connect to: documented, and never made here. */
const neverMade = [
  "runner_connection_timeout",
  "runner_connection_refused",
  "runner_connection_error",
]

function isTold(type: PlatformErrorType): boolean {
  return platformErrors[type].status === 429 || platformErrors[type].status >= 500
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What a 429 and a 5xx tell, whoever made them, and the header that repeats it. */
function expectTold({ status, headers }: HttpAnswer, told: Record<string, unknown>): void {
  expect(status === 429 || status >= 500).toBe(true)
  const [name, header, type, form] =
    status === 429
      ? (["retry_after", "retry-after", "number", /^[1-9]\d*$/] as const)
      : (["request_id", "x-fal-request-id", "string", uuid] as const)
  expect(told[name]).toBeTypeOf(type)
  expect(String(told[name])).toMatch(form)
  expect(headers[header]).toBe(String(told[name]))
}

/** The error of an answer of the platform API. */
const errorOf = ({ json: { error } }: HttpAnswer) => error as Record<string, unknown>

describe("every 429 tells when to try again, and every 5xx names a request", () => {
  it("there is a way to each of the catalogue, or a reason why there is none", () => {
    const types = (Object.keys(platformErrors) as PlatformErrorType[]).filter(isTold)
    expect([...Object.keys(ways), ...neverMade].toSorted()).toEqual(types.toSorted())
  })

  it.each(Object.keys(ways) as PlatformErrorType[])("%s", async (type) => {
    const answer = await ways[type]!()
    const { status, retryable } = platformErrors[type]
    expect([answer.status, answer.json["error_type"]]).toEqual([status, type])
    expect(answer.headers).toMatchObject({
      "x-fal-error-type": type,
      "x-fal-retryable": String(retryable),
    })
    expect(answer.headers["x-fal-needs-retry"]).toBe(retryable ? "1" : undefined)
    expectTold(answer, answer.json)
  })

  it("a run whose server stops", async () => {
    const answer = await runUntil(async (gateway) => {
      await gateway.claim()
      await gateway.store.endAttempts(session, "stopped")
    })
    expect([answer.status, answer.json["error_type"]]).toEqual([429, "server_stopping"])
    expectTold(answer, answer.json)
  })

  it.each([
    ["a wait", "GET", "/status", { prefer: "wait=60" }],
    ["a status stream", "GET", "/status/stream", {}],
    ["a run", "POST", "", {}],
  ])("%s beyond waitersMax", async (what, method, suffix, headers) => {
    const gateway = await open({ limits: { waitersMax: 0 } })
    const id = await gateway.submit()
    const at = what === "a run" ? "/run/fal-ai/flux/dev" : `/queue/fal-ai/flux/requests/${id}`
    const answer = await gateway.call(method, `${at}${suffix}`, { headers })
    expect([answer.status, answer.json["error_type"]]).toEqual([429, "concurrent_requests_limit"])
    expectTold(answer, answer.json)
  })

  it.each([
    ["when the server stops", true, "server_stopping"],
    ["beyond the links that there may be", false, "concurrent_requests_limit"],
  ])("a runner's link %s", async (_, draining, type) => {
    const full = { link: () => null, transfer: () => {} }
    const gateway = await open({ parts: { draining, runners: full } })
    const answer = await gateway.call("GET", "/_/link", {
      headers: {
        authorization: `Local ${localSecret}`,
        upgrade: "websocket",
        connection: "upgrade",
      },
    })
    expect([answer.status, answer.json["error_type"]]).toEqual([429, type])
    expectTold(answer, answer.json)
  })

  it("a result whose blob is gone", async () => {
    const gateway = await open()
    const id = await gateway.submit()
    await gateway.settle(await gateway.claim(), { body: { blob: "0".repeat(32), bytes: 40_000 } })
    const answer = await gateway.call("GET", `/queue/fal-ai/flux/requests/${id}`)
    expect([answer.status, answer.json["error_type"]]).toEqual([500, "internal_error"])
    expectTold(answer, answer.json)
  })
})

describe("what has no type of the catalogue names a request all the same", () => {
  let gateway: TestGateway

  beforeEach(async () => {
    gateway = await open({ parts: { health: () => ({ ready: false, detail: {} }) } })
  })

  it.each([
    ["GET", "/health?ready", {}, 503],
    ["GET", "/rest/anything", {}, 501],
    ["GET", "/ws/fal-ai/flux/dev", {}, 501],
    ["GET", "/kv/anything", {}, 501],
    ["GET", "/run/fal-ai/flux/dev", { upgrade: "websocket", connection: "upgrade" }, 501],
    ["POST", "/api/fal/proxy", { "x-fal-target-url": "https://auth.fal.ai/x" }, 501],
  ])("%s %s %o: %i", async (method, at, headers, status) => {
    const answer = await gateway.call(method, at, { headers })
    expect(answer.status).toBe(status)
    expectTold(answer, answer.json)
  })
})

describe("the platform API says the same inside its own shape", () => {
  it("a server that stops [429]", async () => {
    const gateway = await open()
    gateway.store.apps = () => Promise.reject(new StoreError("closed", "The store is closed"))
    const answer = await gateway.call("GET", "/v1/models")
    expect([answer.status, errorOf(answer)["type"]]).toEqual([429, "rate_limited"])
    expectTold(answer, errorOf(answer))
  })

  it("what nobody expected, by the id that the log has [500]", async () => {
    const gateway = await open()
    gateway.store.apps = () => Promise.reject(new Error("a bug"))
    const answer = await gateway.call("GET", "/v1/models")
    expect([answer.status, errorOf(answer)["type"]]).toEqual([500, "server_error"])
    expectTold(answer, errorOf(answer))
    expect(gateway.entries).toContainEqual(
      expect.objectContaining({ event: "error", requestId: errorOf(answer)["request_id"] }),
    )
  })

  it("what is not served [501]", async () => {
    const gateway = await open()
    const answer = await gateway.call("GET", "/v1/anything")
    expect([answer.status, errorOf(answer)["type"]]).toEqual([501, "not_implemented"])
    expectTold(answer, errorOf(answer))
  })
})

describe("the administration tells it too", () => {
  it("a key that the full storage does not take", async () => {
    const gateway = await open({ store: { pagesMax: 90 } })
    const headers = { ...json, authorization: `Local ${localSecret}` }
    const body = JSON.stringify({ scope: "api", name: "x".repeat(200) })
    for (;;) {
      const answer = await gateway.call("POST", "/_/keys", { headers, body })
      if (answer.status === 201) continue
      expect([answer.status, answer.json["error_type"]]).toEqual([429, "storage_full"])
      expectTold(answer, answer.json)
      return
    }
  })
})
