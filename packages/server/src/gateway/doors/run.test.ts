import { request as httpRequest } from "node:http"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { fluxApp, openTestGateway, session, type TestGateway, text } from "../gateway.suite.ts"

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

const json = { "content-type": "application/json" }

/** Resolves to the request's outcome type when it is terminal. */
async function ended(id: string): Promise<string | null | undefined> {
  const record = await gateway.parts.snapshots.untilTerminal(id, {})
  return record?.outcome?.errorType
}

describe("run", () => {
  it.each(["/run/fal-ai/flux/dev", "/fal-ai/flux/dev"])(
    "answers the app's status, headers and body, verbatim [%s]",
    async (path) => {
      const claimed = gateway.claimNext()
      const answered = gateway.call("POST", path, { headers: json, body: '{"prompt":"x"}' })
      const claim = await claimed
      expect(claim.request).toMatchObject({
        door: "run",
        path: "/dev",
        priority: "normal",
        turn: 0,
      })
      const body = '{"images": [ ], "seed": 12345678901234567890}'
      await gateway.settle(claim, {
        status: 201,
        headers: { ...json, "x-fal-billable-units": "2.5" },
        body: text(body),
      })
      const answer = await answered
      expect(answer.status).toBe(201)
      expect(answer.headers["x-fal-request-id"]).toBe(claim.request.id)
      expect(answer.headers["x-fal-billable-units"]).toBe("2.5")
      expect(answer.headers["content-type"]).toBe("application/json")
      expect(answer.body.toString()).toBe(body)
    },
  )

  it("passes a redirect through unfollowed", async () => {
    const claimed = gateway.claimNext()
    const answered = gateway.call("POST", "/run/fal-ai/flux/dev", { body: "{}" })
    await gateway.settle(await claimed, {
      status: 302,
      headers: { location: "/else" },
      body: text(""),
    })
    const { status, headers } = await answered
    expect([status, headers["location"]]).toEqual([302, "/else"])
  })

  it("takes no notice of what only the queue has [length, priority]", async () => {
    await gateway.submit()
    const submitted = gateway.committed(({ door }) => door === "run")
    const path = "/run/fal-ai/flux/dev?fal_max_queue_length=0"
    const headers = { "x-fal-queue-priority": "low" }
    const answered = gateway.call("POST", path, { headers, body: "{}" })
    expect(await submitted).toMatchObject({ priority: "normal", state: "queued" })
    await gateway.settle(await gateway.claim())
    expect((await answered).status).toBe(200)
    await gateway.settle(await gateway.claim())
  })

  it("of a lost attempt is 503 and may be repeated", async () => {
    const own = await openTestGateway()
    const claimed = own.claimNext()
    const answered = own.call("POST", "/run/fal-ai/flux/dev", { body: "{}" })
    const { request } = await claimed
    await own.store.endAttempts(session, "lost")
    const { status, headers, json: body } = await answered
    expect(status).toBe(503)
    expect(headers["x-fal-needs-retry"]).toBe("1")
    expect(headers["x-fal-error-type"]).toBe("runner_disconnected")
    expect(headers["x-fal-request-id"]).toBe(request.id)
    expect(body["error_type"]).toBe("runner_disconnected")
    await own.close()
  })

  it("is cancelled when its caller goes away [queued]", async () => {
    const queued = gateway.committed(({ state }) => state === "queued")
    const outgoing = httpRequest(`${gateway.url}/run/fal-ai/flux/dev`, {
      method: "POST",
      agent: false,
    })
    outgoing.on("error", () => {})
    outgoing.end("{}")
    const { id } = await queued
    outgoing.destroy()
    expect(await ended(id)).toBe("client_disconnected")
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  })

  it("is cancelled when its caller goes away [running: its holder is told]", async () => {
    const claimed = gateway.claimNext()
    const told = Promise.withResolvers<string>()
    gateway.hints.onCancel((request, reason) => told.resolve(`${request} ${reason}`))
    const outgoing = httpRequest(`${gateway.url}/run/fal-ai/flux/dev`, {
      method: "POST",
      agent: false,
    })
    outgoing.on("error", () => {})
    outgoing.end("{}")
    const claim = await claimed
    outgoing.destroy()
    expect(await told.promise).toBe(`${claim.request.id} client_disconnected`)
    await gateway.settle(claim, { failed: "aborted" })
    expect(await ended(claim.request.id)).toBe("client_disconnected")
  })

  it("is refused with 429 beyond waitersMax", async () => {
    const small = await openTestGateway({ limits: { waitersMax: 0 } })
    const answer = await small.call("POST", "/run/fal-ai/flux/dev", { body: "{}" })
    expect([answer.status, answer.headers["retry-after"]]).toEqual([429, "1"])
    await small.close()
  })

  it("says of realtime that it is a WebSocket, if it is anything", async () => {
    const absent = await gateway.call("POST", "/run/fal-ai/flux/dev/realtime", { body: "{}" })
    expect([absent.status, absent.json["detail"]]).toEqual([
      404,
      'Endpoint "fal-ai/flux/dev" is not realtime: call it without /realtime',
    ])
    const id = "acme/live"
    const row = { ...fluxApp, id, endpoints: [id], realtime: { [id]: {} } }
    await gateway.store.putApp(row)
    const answer = await gateway.call("POST", `/run/${id}/realtime`, { body: "{}" })
    expect([answer.status, answer.headers["upgrade"]]).toEqual([426, "websocket"])
  })
})

describe("the run surface says how it is called", () => {
  it("at its root", async () => {
    for (const path of ["/", "/run", "/queue/"]) {
      const { status, json: body } = await gateway.call("GET", path)
      expect(status).toBe(200)
      expect(body).toMatchObject({
        server: "tintype",
        run: `POST ${gateway.url}/run/fal-ai/flux/dev`,
        queue: `POST ${gateway.url}/queue/fal-ai/flux/dev`,
      })
    }
  })

  it.each(["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])(
    "to %s of an endpoint, with 405",
    async (method) => {
      const answer = await gateway.call(method, "/run/fal-ai/flux/dev")
      expect([answer.status, answer.headers["allow"]]).toEqual([405, "POST"])
      if (method === "HEAD") return
      expect(answer.json["run"]).toBe(`POST ${gateway.url}/run/fal-ai/flux/dev`)
    },
  )

  it("to GET of a wrong path, with 404 and what was perhaps meant", async () => {
    const { status, json: body } = await gateway.call("GET", "/fal-ai/fluks/dev")
    expect(status).toBe(404)
    expect(body).toMatchObject({
      detail: 'Application "fal-ai/fluks/dev" not found',
      nearest: "fal-ai/flux/dev",
      run: `POST ${gateway.url}/run/fal-ai/flux/dev`,
    })
  })
})

it("a caller that goes away within its body leaves nothing behind", async () => {
  const outgoing = httpRequest(`${gateway.url}/run/fal-ai/flux/dev`, {
    method: "POST",
    agent: false,
    headers: { "content-length": "100" },
  })
  outgoing.on("error", () => {})
  await new Promise<void>((resolve) => {
    outgoing.write("{", () => resolve())
  })
  const logged = gateway.nextEntry()
  outgoing.destroy()
  expect(await logged).toMatchObject({ event: "request", path: "/run/fal-ai/flux/dev" })
  expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  expect(gateway.entries.filter(({ event }) => event === "error")).toEqual([])
})
