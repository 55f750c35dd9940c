import { randomUUID } from "node:crypto"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { chunked, openTestGateway, type TestGateway, text } from "../gateway.suite.ts"

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openTestGateway()
})
afterEach(async () => {
  await gateway.clear()
})
afterAll(async () => {
  await gateway.close()
})

const requestPath = (id: string, suffix = "") => `/queue/fal-ai/flux/requests/${id}${suffix}`

describe("submit", () => {
  it("answers with all fields of a queued request", async () => {
    const answer = await gateway.call("POST", "/queue/fal-ai/flux/dev", {
      headers: { "content-type": "application/json", "x-fal-queue-priority": "normal" },
      body: '{"prompt":"a lighthouse"}',
    })
    const id = String(answer.json["request_id"])
    const url = `${gateway.url}/queue/fal-ai/flux/requests/${id}`
    expect(answer.status).toBe(200)
    expect(answer.headers["content-type"]).toBe("application/json")
    expect(answer.headers["x-fal-request-id"]).toBe(id)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(answer.json).toEqual({
      status: "IN_QUEUE",
      request_id: id,
      gateway_request_id: id,
      response_url: url,
      status_url: `${url}/status`,
      cancel_url: `${url}/cancel`,
      queue_position: 0,
      logs: null,
      metrics: {},
    })
    await gateway.settle(await gateway.claim())
  })

  it("keeps the bytes as received [big integers, __proto__, spaces]", async () => {
    const body = '{ "seed" : 12345678901234567890, "__proto__": 1,\n"x": 1.0 }'
    await gateway.submit(body, "tintype/echo")
    const claim = await gateway.claim("tintype/echo")
    expect(claim.input).toEqual({ inline: new Uint8Array(Buffer.from(body)) })
    await gateway.settle(claim)
  })

  it("gives the app the caller's headers without those of the platform and of the connection", async () => {
    await gateway.call("POST", "/queue/fal-ai/flux/dev", {
      headers: {
        "content-type": "application/json",
        authorization: "Key a:b",
        "x-fal-tags": "a=b",
        "x-my-header": "mine",
        "x-fal-queue-priority": "low",
      },
      body: "{}",
    })
    const claim = await gateway.claim()
    expect(claim.headers).toMatchObject({
      "x-my-header": "mine",
      "content-type": "application/json",
    })
    for (const name of ["authorization", "x-fal-tags", "host", "content-length", "connection"]) {
      expect(claim.headers).not.toHaveProperty(name)
    }
    expect(claim.request).toMatchObject({
      account: "local",
      door: "queue",
      app: "fal-ai/flux",
      endpoint: "fal-ai/flux/dev",
      path: "/dev",
      priority: "low",
    })
    expect(claim.fileBase).toBe(`${gateway.url}/files`)
    await gateway.settle(claim)
  })

  it("ignores a priority that it does not know", async () => {
    await gateway.call("POST", "/queue/fal-ai/flux/dev", {
      headers: { "x-fal-queue-priority": "urgent" },
      body: "{}",
    })
    const claim = await gateway.claim()
    expect(claim.request.priority).toBe("normal")
    await gateway.settle(claim)
  })

  it("takes an unknown path of a known app, and a body that its model would refuse", async () => {
    expect(await gateway.submit('{"prompt": 5}', "fal-ai/flux/nope")).toMatch(/-/)
    await gateway.settle(await gateway.claim())
  })

  it("takes an empty body with a JSON type for no body", async () => {
    await gateway.submit("")
    const claim = await gateway.claim()
    expect(claim.input).toEqual({ inline: new Uint8Array() })
    await gateway.settle(claim)
  })

  it("passes bodies of unknown and missing types as bytes", async () => {
    for (const headers of [{}, { "content-type": "image/png" }, { "content-type": "nonsense" }]) {
      const { status } = await gateway.call("POST", "/queue/tintype/echo", {
        headers,
        body: "\x89no",
      })
      expect(status).toBe(200)
      const claim = await gateway.claim("tintype/echo")
      expect(claim.input).toEqual({ inline: new Uint8Array(Buffer.from("\x89no")) })
      await gateway.settle(claim)
    }
  })

  it("joins the commit of the claim that its hint leads to", async () => {
    const claimed = gateway.claimNext()
    const id = await gateway.submit()
    // The claim was called in the tick of the submit, so the answer of the submit already knows of it.
    const status = await gateway.call("GET", requestPath(id, "/status"))
    expect(status.json["status"]).toBe("IN_PROGRESS")
    await gateway.settle(await claimed)
  })

  it.each([
    [{ "x-fal-request-timeout": "30.0" }, 30_000],
    [{ "x-fal-request-start-timeout": "0.1", "x-fal-request-timeout": "30" }, 100],
    [{}, null],
  ])(
    "gives the request the start deadline that its caller asks for [%o: %s ms]",
    async (headers, ms) => {
      await gateway.call("POST", "/queue/fal-ai/flux/dev", { headers: { ...headers }, body: "{}" })
      const claim = await gateway.claim()
      const { startDeadline, submittedAt } = claim.request
      expect(startDeadline).toBe(ms === null ? null : submittedAt + ms)
      expect(Object.keys(claim.headers).filter((name) => name.startsWith("x-fal-"))).toEqual([])
      await gateway.settle(claim)
    },
  )

  it.each([
    ["x-fal-request-timeout", "soon", "a number of seconds, at least 0.1"],
    ["x-fal-request-timeout", "0.09", "a number of seconds, at least 0.1"],
    ["x-fal-request-start-timeout", "-1", "a number of seconds, at least 0.1"],
    ["x-fal-no-retry", "perhaps", "1 or 0"],
    ["x-fal-store-io", "off", "1 or 0"],
  ])("refuses an option that cannot be understood [%s: %s]", async (name, value, wanted) => {
    for (const path of ["/queue/fal-ai/flux/dev", "/run/fal-ai/flux/dev"]) {
      const answer = await gateway.call("POST", path, { headers: { [name]: value }, body: "{}" })
      expect(answer.status).toBe(400)
      expect(answer.json).toEqual({
        detail: `${name} must be ${wanted}`,
        error_type: "bad_request",
      })
    }
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  })

  it.each(["many", "-1", "1.5"])("refuses fal_max_queue_length=%s", async (value) => {
    const path = `/queue/fal-ai/flux/dev?fal_max_queue_length=${value}`
    const answer = await gateway.call("POST", path, { body: "{}" })
    expect(answer.status).toBe(400)
    expect(answer.json["detail"]).toBe("fal_max_queue_length must be a whole number, 0 or more")
  })

  it.each([
    ["1", true],
    ["True", true],
    ["yes", true],
    ["0", false],
    ["", false],
  ])(
    "gives a request one attempt when its caller wants no retry [%s: %s]",
    async (value, noRetry) => {
      const headers = { "x-fal-no-retry": value }
      await gateway.call("POST", "/queue/fal-ai/flux/dev", { headers, body: "{}" })
      const claim = await gateway.claim()
      expect(claim.request.noRetry).toBe(noRetry)
      await gateway.settle(claim)
    },
  )

  it("refuses when the queue is longer than fal_max_queue_length", async () => {
    const ids = [await gateway.submit(), await gateway.submit()]
    const call = (lengthMax: number) =>
      gateway.call("POST", `/queue/fal-ai/flux/dev?fal_max_queue_length=${lengthMax}`, {
        body: "{}",
      })
    const refused = await call(1)
    expect(refused.status).toBe(429)
    expect(refused.headers["retry-after"]).toMatch(/^\d+$/)
    expect(refused.json).toMatchObject({ error_type: "queue_too_long", retry_after: 5 })
    expect((await call(2)).status).toBe(200)
    for (const _ of [...ids, "the third"]) await gateway.settle(await gateway.claim())
  })
})

describe("status", () => {
  it("tells the position of a queued request, with 202", async () => {
    const ids = [await gateway.submit(), await gateway.submit()]
    for (const [position, id] of ids.entries()) {
      const { status, json, headers } = await gateway.call("GET", requestPath(id, "/status"))
      expect(status).toBe(202)
      expect(headers["x-fal-request-id"]).toBe(id)
      const url = gateway.url + requestPath(id)
      expect(json).toEqual({
        status: "IN_QUEUE",
        request_id: id,
        response_url: url,
        status_url: `${url}/status`,
        cancel_url: `${url}/cancel`,
        queue_position: position,
        logs: null,
        metrics: {},
      })
    }
    for (const _ of ids) await gateway.settle(await gateway.claim())
  })

  it("tells progress and logs of a running request, with 202", async () => {
    const id = await gateway.submit()
    const claim = await gateway.claim()
    gateway.say(claim, 1, "Grüße 🌅")
    gateway.events.add(claim.request.attempt?.lease ?? "", {
      seq: 2,
      at: 1_700_000_000_002,
      kind: "progress",
      step: 3,
      steps: 28,
    })
    for (const logs of ["logs=1", "logs=true"]) {
      const { status, json } = await gateway.call("GET", requestPath(id, `/status?${logs}`))
      expect(status).toBe(202)
      expect(json).toMatchObject({
        status: "IN_PROGRESS",
        metrics: {},
        progress: { step: 3, steps: 28 },
      })
      expect(json).not.toHaveProperty("queue_position")
      expect(json["logs"]).toEqual([
        {
          message: "Grüße 🌅",
          timestamp: "2023-11-14T22:13:20.001Z",
          level: "INFO",
          source: "USER",
          labels: {},
        },
      ])
    }
    for (const logs of ["", "?logs=0", "?logs=false"]) {
      const { json } = await gateway.call("GET", requestPath(id, `/status${logs}`))
      expect(json["logs"]).toBeNull()
    }
    await gateway.settle(claim)
    const done = await gateway.call("GET", requestPath(id, "/status?logs=1"))
    expect(done.status).toBe(200)
    expect(done.json).toMatchObject({ status: "COMPLETED", metrics: { inference_time: 1.25 } })
    expect(done.json["logs"]).toHaveLength(1)
    for (const key of ["progress", "error", "error_type", "queue_position"]) {
      expect(done.json).not.toHaveProperty(key)
    }
  })

  it("tells error and error_type of a failure", async () => {
    const id = await gateway.submit()
    await gateway.settle(await gateway.claim(), { failed: "exception" })
    const { status, json } = await gateway.call("GET", requestPath(id, "/status"))
    expect(status).toBe(200)
    expect(json["status"]).toBe("COMPLETED")
    expect(json["error"]).toEqual(expect.any(String))
    expect(json["error_type"]).toBe("runner_server_error")
    expect(json["logs"]).toBeNull()
  })

  it("is found by the full endpoint id, with a trailing slash and in capitals too", async () => {
    const id = await gateway.submit()
    for (const path of [
      `/queue/fal-ai/flux/dev/requests/${id}/status`,
      `/queue/fal-ai/flux/requests/${id}/status/`,
      `/queue/fal-ai/flux/requests/${id.toUpperCase()}/status`,
    ]) {
      expect([path, (await gateway.call("GET", path)).status]).toEqual([path, 202])
    }
    const head = await gateway.call("HEAD", requestPath(id, "/status"))
    expect([head.status, head.body.length]).toEqual([202, 0])
    await gateway.settle(await gateway.claim())
  })
})

describe("result", () => {
  it("is the runner's status, headers and body, verbatim", async () => {
    const id = await gateway.submit()
    const body = '{"seed": 12345678901234567890, "__proto__": 1 }'
    await gateway.settle(await gateway.claim(), {
      status: 422,
      headers: { "content-type": "application/json; charset=utf-8", "x-fal-billable-units": "1" },
      body: text(body),
    })
    for (const path of [requestPath(id), requestPath(id, "/response"), requestPath(id, "/")]) {
      const answer = await gateway.call("GET", path)
      expect(answer.status).toBe(422)
      expect(answer.headers["content-type"]).toBe("application/json; charset=utf-8")
      expect(answer.headers["x-fal-billable-units"]).toBe("1")
      expect(answer.headers["x-fal-request-id"]).toBe(id)
      expect(answer.body.toString()).toBe(body)
    }
  })

  it("streams a body that is a blob, and answers HEAD without it", async () => {
    const bytes = Buffer.alloc(300_000, "x")
    const { name } = await gateway.parts.blobs.write(chunked(bytes))
    const id = await gateway.submit()
    await gateway.settle(await gateway.claim(), {
      headers: { "content-type": "application/octet-stream" },
      body: { blob: name, bytes: bytes.length },
    })
    const answer = await gateway.call("GET", requestPath(id))
    expect(answer.headers["content-length"]).toBe("300000")
    expect(answer.body.equals(bytes)).toBe(true)
    const head = await gateway.call("HEAD", requestPath(id))
    expect([head.status, head.headers["content-length"], head.body.length]).toEqual([
      200,
      "300000",
      0,
    ])
  })

  it("leaves out a header of the app that HTTP cannot carry", async () => {
    const id = await gateway.submit()
    const headers = {
      "content-type": "application/json",
      "x-a": "a\r\nx-b: b",
      "x-c": "→",
      "x-d": "d",
    }
    await gateway.settle(await gateway.claim(), { headers })
    const answer = await gateway.call("GET", requestPath(id))
    expect(answer.status).toBe(200)
    expect(answer.headers["x-d"]).toBe("d")
    for (const name of ["x-a", "x-b", "x-c"]) expect(answer.headers).not.toHaveProperty(name)
  })

  it("is 400 while the request is in progress", async () => {
    const id = await gateway.submit()
    const expected = { detail: "Request is still in progress" }
    const queued = await gateway.call("GET", requestPath(id))
    expect([queued.status, queued.json]).toEqual([400, expected])
    const claim = await gateway.claim()
    const running = await gateway.call("GET", requestPath(id))
    expect([running.status, running.json]).toEqual([400, expected])
    await gateway.settle(claim)
  })

  it("of a failure carries its type", async () => {
    const id = await gateway.submit()
    await gateway.settle(await gateway.claim(), { failed: "exception" })
    const answer = await gateway.call("GET", requestPath(id))
    expect(answer.status).toBe(500)
    expect(answer.headers["x-fal-error-type"]).toBe("runner_server_error")
    expect(answer.json["error_type"]).toBe("runner_server_error")
    expect(answer.headers["x-fal-request-id"]).toBe(id)
  })
})

describe("Prefer: wait", () => {
  it.each(["/status", ""])("holds %s until the request is terminal", async (suffix) => {
    const id = await gateway.submit()
    const claim = await gateway.claim()
    const answer = gateway.call("GET", requestPath(id, suffix), { headers: { prefer: "wait=60" } })
    await gateway.settle(claim)
    const { status, headers } = await answer
    expect(status).toBe(200)
    expect(headers["preference-applied"]).toBe("wait")
  })

  it("ends after its time [status 202, result 400]", async () => {
    const id = await gateway.submit()
    const prefer = { headers: { prefer: "wait=0" } }
    const status = await gateway.call("GET", requestPath(id, "/status"), prefer)
    expect([status.status, status.headers["preference-applied"]]).toEqual([202, "wait"])
    const result = await gateway.call("GET", requestPath(id), prefer)
    expect([result.status, result.headers["preference-applied"]]).toEqual([400, "wait"])
    await gateway.settle(await gateway.claim())
  })

  it("is not claimed to be applied when nobody asked", async () => {
    const id = await gateway.submit()
    const { headers } = await gateway.call("GET", requestPath(id, "/status"))
    expect(headers).not.toHaveProperty("preference-applied")
    await gateway.settle(await gateway.claim())
  })

  it("is refused with 429 beyond waitersMax", async () => {
    const small = await openTestGateway({ limits: { waitersMax: 1 } })
    const id = await small.submit()
    const claim = await small.claim()
    const wait = () =>
      small.call("GET", requestPath(id, "/status"), { headers: { prefer: "wait=60" } })
    // Of the two one waits and one is refused, whichever came first.
    const first = await Promise.race([wait(), wait()])
    expect(first.status).toBe(429)
    expect(first.headers["retry-after"]).toBeDefined()
    await small.settle(claim)
    await small.close()
  })
})

const cancel = (id: string) =>
  gateway.call("PUT", requestPath(id, "/cancel"), {
    headers: { "content-type": "application/json" },
  })

describe("cancel", () => {
  it("removes a queued request, and says so as often as it is asked", async () => {
    const id = await gateway.submit()
    for (let times = 0; times < 3; times += 1) {
      const answer = await cancel(id)
      expect([answer.status, answer.json]).toEqual([200, { status: "OK", success: true }])
    }
    const status = await gateway.call("GET", requestPath(id, "/status"))
    expect(status.json).toMatchObject({ status: "COMPLETED", error_type: "client_cancelled" })
    expect((await gateway.call("GET", requestPath(id))).status).toBe(499)
  })

  it("asks the holder of a running request to stop, each time", async () => {
    const id = await gateway.submit()
    const claim = await gateway.claim()
    const told: string[] = []
    gateway.hints.onCancel((request, reason) => told.push(`${request} ${reason}`))
    for (let times = 0; times < 2; times += 1) {
      const answer = await cancel(id)
      expect([answer.status, answer.json]).toEqual([
        202,
        { status: "CANCELLATION_REQUESTED", success: true },
      ])
    }
    expect(told).toEqual([`${id} client_cancelled`, `${id} client_cancelled`])
    await gateway.settle(claim, { failed: "aborted" })
  })

  it.each(["success", "failure"])("is too late for a finished request [%s]", async (end) => {
    const id = await gateway.submit()
    await gateway.settle(await gateway.claim(), end === "success" ? {} : { failed: "exception" })
    const answer = await cancel(id)
    expect([answer.status, answer.json]).toEqual([400, { status: "ALREADY_COMPLETED" }])
  })
})

describe("an unknown request", () => {
  const unknown = { detail: "Request not found", status: "NOT_FOUND" }

  it.each([
    ["GET", "/status"],
    ["GET", "/status/stream"],
    ["GET", ""],
    ["GET", "/response"],
    ["PUT", "/cancel"],
  ])("%s …%s is 404 with both keys", async (method, suffix) => {
    const answer = await gateway.call(method, requestPath(randomUUID(), suffix))
    expect([answer.status, answer.json]).toEqual([404, unknown])
  })

  it.each(["fal-ai/fast-sdxl", "other/flux", "workflows/fal-ai/flux"])(
    "is also one under the name of another app [%s]",
    async (app) => {
      const id = await gateway.submit()
      for (const [method, suffix] of [
        ["GET", "/status"],
        ["GET", ""],
        ["PUT", "/cancel"],
      ] as const) {
        const answer = await gateway.call(method, `/queue/${app}/requests/${id}${suffix}`)
        expect([answer.status, answer.json]).toEqual([404, unknown])
      }
      const claim = await gateway.claim()
      expect(claim.request.cancelRequest).toBeNull()
      await gateway.settle(claim)
    },
  )
})

it.each([
  ["GET", "/queue/fal-ai/flux/dev", "POST"],
  ["PUT", "/queue/fal-ai/flux/dev", "POST"],
  ["DELETE", "/queue/fal-ai/flux/dev", "POST"],
  ["PUT", "status", "GET, HEAD"],
  ["DELETE", "status", "GET, HEAD"],
  ["GET", "cancel", "PUT"],
  ["POST", "cancel", "PUT"],
  ["POST", "status", "GET, HEAD"],
  ["PROPFIND", "/queue/fal-ai/flux/dev", "POST"],
])("%s %s is 405 and names %s", async (method, path, allow) => {
  const full = path.startsWith("/") ? path : requestPath(randomUUID(), `/${path}`)
  const answer = await gateway.call(method, full)
  expect([answer.status, answer.headers["allow"]]).toEqual([405, allow])
  expect(answer.json["detail"]).toContain(allow)
})
