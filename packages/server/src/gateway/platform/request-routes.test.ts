import { afterEach, describe, expect, it } from "vitest"
import type { Claim } from "../../store.ts"
import type { HttpAnswer, TestGatewayOptions } from "../gateway.suite.ts"
import { localSecret, openTestGateway, session, type TestGateway } from "../gateway.suite.ts"

const hook = "https://me:hidden@example.com/hook?token=hidden"
const local = { authorization: `Local ${localSecret}` }
const iso = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)

let gateway: TestGateway

async function open(options: TestGatewayOptions = {}): Promise<void> {
  gateway = await openTestGateway(options)
}

afterEach(async () => {
  await gateway.close()
})

async function get(path: string, headers: Record<string, string> = {}): Promise<HttpAnswer> {
  return await gateway.call("GET", path, { headers })
}

async function submit(
  headers: Record<string, string> = {},
  path = "fal-ai/flux/dev",
): Promise<string> {
  const answer = await gateway.call("POST", `/queue/${path}`, {
    headers: { "content-type": "application/json", ...headers },
    body: '{"prompt":"payload"}',
  })
  expect(answer.status).toBe(200)
  return String(answer.json["request_id"])
}

async function makeKey(scope: string, account: string): Promise<{ authorization: string }> {
  const body = JSON.stringify({ scope, account })
  const answer = await gateway.call("POST", "/_/keys", { headers: local, body })
  expect(answer.status).toBe(201)
  return { authorization: `Key ${String(answer.json["key"])}` }
}

async function submitAndClaim(): Promise<Claim> {
  await submit()
  return await gateway.claim()
}

function listed({ json }: HttpAnswer): string[] {
  return (json["requests"] as { request_id: string }[]).map((one) => one.request_id)
}

const waiting = {
  app: "fal-ai/flux",
  endpoint: "fal-ai/flux/dev",
  door: "queue",
  priority: "normal",
  state: "queued",
  queue_position: 0,
  submitted_at: iso,
  not_before: null,
  start_deadline: null,
  finished_at: null,
  attempts_made: 0,
  cancel_request: null,
  outcome: null,
}

describe("/_/requests/{id}", () => {
  it("shows one that waits", async () => {
    await open()
    await submit()
    const id = await submit({ "x-fal-request-start-timeout": "60" })
    const shown = await get(`/_/requests/${id}`)
    expect([shown.status, shown.headers["cache-control"]]).toEqual([200, "no-store"])
    expect(shown.json).toEqual({
      ...waiting,
      request_id: id,
      queue_position: 1,
      start_deadline: iso,
      input_bytes: 20,
      output_bytes: null,
      attempts: [],
      webhook: null,
    })
  })

  it("shows one that runs, then waits for its next attempt, then runs again and succeeds", async () => {
    await open()
    const id = await submit()
    const first = await gateway.claim()
    const runner = { pid: process.pid, build: "test", started_at: iso }
    const attempt = { number: 1, runner, session, started_at: iso, reason: null, status: null }
    expect((await get(`/_/requests/${id}`)).json).toMatchObject({
      state: "running",
      queue_position: null,
      attempts_made: 1,
      attempts: [{ ...attempt, ended_at: null, outcome: null, error_type: null }],
    })
    await gateway.store.endAttempts(session, "stopped")
    expect((await get(`/_/requests/${id}`)).json).toMatchObject({
      state: "queued",
      queue_position: 0,
      not_before: null,
    })
    const second = await gateway.claim()
    expect(second.request.id).toBe(first.request.id)
    await gateway.settle(second)
    const { json } = await get(`/_/requests/${id}`)
    expect(json).toMatchObject({
      state: "succeeded",
      finished_at: iso,
      attempts_made: 2,
      outcome: { status: 200, error: null, error_type: null, inference_time: 1.25 },
      input_bytes: 20,
      output_bytes: 11,
    })
    expect(json["attempts"]).toEqual([
      {
        ...attempt,
        ended_at: iso,
        outcome: "requeued",
        reason: "stopped",
        error_type: "server_stopping",
      },
      {
        ...attempt,
        number: 2,
        ended_at: json["finished_at"],
        outcome: "succeeded",
        status: 200,
        error_type: null,
      },
    ])
  })

  it("shows a transient failure with its status and type, and until when the request waits", async () => {
    await open()
    const id = await submit()
    await gateway.settle(await gateway.claim(), {
      status: 503,
      headers: { "x-fal-error-type": "model_not_loaded" },
    })
    const { json } = await get(`/_/requests/${id}`)
    expect(json).toMatchObject({ state: "queued", not_before: iso })
    expect(json["attempts"]).toMatchObject([
      { outcome: "requeued", reason: "transient", status: 503, error_type: "model_not_loaded" },
    ])
  })

  it("shows a cancel, asked for and done, and how the last attempt failed", async () => {
    await open()
    const id = await submit()
    const claim = await gateway.claim()
    await gateway.store.cancel({ id, cause: "client_cancelled" })
    const asked = await get(`/_/requests/${id}`)
    expect(asked.json["cancel_request"]).toEqual({ at: iso, cause: "client_cancelled" })
    await gateway.settle(claim, { failed: "aborted" })
    expect((await get(`/_/requests/${id}`)).json).toMatchObject({
      state: "cancelled",
      outcome: { status: 499, error_type: "client_cancelled" },
      attempts: [{ outcome: "cancelled", reason: null, error_type: "client_cancelled" }],
    })
  })

  it("shows the webhook and its tries, and nothing that is secret or said", async () => {
    await open()
    const id = await submit({}, `fal-ai/flux/dev?fal_webhook=${encodeURIComponent(hook)}`)
    const url = "https://redacted@example.com/hook?redacted"
    expect((await get(`/_/requests/${id}`)).json["webhook"]).toEqual({
      url,
      state: null,
      try_count: 0,
      tries: [],
    })
    await gateway.settle(await gateway.claim())
    const { delivery } = (await gateway.store.delivery(id)) ?? {}
    await gateway.store.recordTry({
      sequence: delivery?.sequence ?? 0,
      number: 1,
      made: { at: 5, durationMs: 7, status: 500, answer: "said", error: null, detail: null },
      policy: { retriesMax: 1, retryBaseMs: 1, retryDelayMaxMs: 1 },
      random: 0,
    })
    const { json, body } = await get(`/_/requests/${id}`)
    expect(json["webhook"]).toMatchObject({
      url,
      state: "pending",
      try_count: 1,
      next_try_at: iso,
      tries: [{ number: 1, duration_ms: 7, status: 500, error: null }],
    })
    for (const secret of ["hidden", "said", "payload", "x-fal", "content-type", '"ok"']) {
      expect(body.toString()).not.toContain(secret)
    }
  })
})

describe("/_/requests", () => {
  it("lists page by page, the newest first, while more are submitted", async () => {
    await open()
    const ids = [await submit(), await submit(), await submit()]
    const first = await get("/_/requests?limit=2")
    expect(listed(first)).toEqual([ids[2], ids[1]])
    expect(first.json).toMatchObject({ has_more: true })
    const [row] = first.json["requests"] as object[]
    expect(row).toEqual({ ...waiting, request_id: ids[2], queue_position: 2 })
    await submit()
    const second = await get(`/_/requests?limit=2&cursor=${String(first.json["next_cursor"])}`)
    expect(listed(second)).toEqual([ids[0]])
    expect(second.json).toMatchObject({ next_cursor: null, has_more: false })
  })

  it("lists a hundred at most, however many are asked for", async () => {
    await open()
    const { request } = await submitAndClaim()
    const input = { inline: new Uint8Array(2) }
    const submits = Array.from({ length: 100 }, (_, index) =>
      gateway.store.submit({ ...request, id: `r${index}`, input, headers: {}, fileBase: "" }),
    )
    await Promise.all(submits)
    expect(listed(await get("/_/requests?limit=1000"))).toHaveLength(100)
  })

  it("lists by state, endpoint and app", async () => {
    await open()
    const dev = await submit()
    const schnell = await submit({}, "fal-ai/flux/schnell")
    const echo = await submit({}, "tintype/echo")
    await gateway.store.cancel({ id: schnell, cause: "client_cancelled" })
    for (const [query, ids] of [
      ["state=cancelled", [schnell]],
      ["state=queued", [echo, dev]],
      ["endpoint=fal-ai/flux/dev", [dev]],
      ["app=fal-ai/flux", [schnell, dev]],
      ["app=fal-ai/flux&state=queued", [dev]],
      ["app=%27%20OR%201", []],
    ] as const) {
      expect([query, listed(await get(`/_/requests?${query}`))]).toEqual([query, ids])
    }
  })

  it.each([
    ["GET", "/_/requests/unknown", 404, /^Request unknown not found$/],
    ["GET", "/_/requests/a/b", 404, /Path not found/],
    ["GET", "/_/requestss", 404, /not found/],
    ["POST", "/_/requests", 405, /GET, HEAD/],
    ["DELETE", "/_/requests/unknown", 405, /GET, HEAD/],
    ["GET", "/_/requests?limit=0", 400, /limit/],
    ["GET", "/_/requests?state=done", 400, /queued, running, succeeded, failed, cancelled/],
    ["GET", "/_/requests?cursor=x", 400, /cursor/],
  ])("refuses %s %s with %i", async (method, path, status, detail) => {
    await open()
    const refused = await gateway.call(method, path)
    expect([refused.status, refused.json["detail"]]).toEqual([
      status,
      expect.stringMatching(detail),
    ])
  })

  it("is for programs of this machine without a key", async () => {
    await open()
    expect((await get("/_/requests")).status).toBe(200)
    const head = await gateway.call("HEAD", "/_/requests")
    expect([head.status, head.body.length]).toEqual([200, 0])
    expect((await get("/_/requests", { origin: "https://example.com" })).status).toBe(403)
  })
})

/** A request of the account acme that has failed to tell its webhook. */
async function oweAsAcme(acme: Record<string, string>): Promise<string> {
  const id = await submit(acme, `fal-ai/flux/dev?fal_webhook=${encodeURIComponent(hook)}`)
  await gateway.store.cancel({ id, cause: "client_cancelled" })
  const { delivery } = (await gateway.store.delivery(id)) ?? {}
  await gateway.store.recordTry({
    sequence: delivery?.sequence ?? 0,
    number: 1,
    made: { at: 5, durationMs: 7, status: 500, answer: "said", error: null, detail: null },
    policy: { retriesMax: 0, retryBaseMs: 1, retryDelayMaxMs: 1 },
    random: 0,
  })
  return id
}

describe("an account's requests and webhooks", () => {
  it("are read with its own keys, whatever their scope; administering opens no other's", async () => {
    await open()
    const acme = await makeKey("api", "acme")
    const id = await oweAsAcme(acme)
    const rows: [string, Record<string, string>, number][] = [
      ["acme's api key", acme, 200],
      ["acme's admin key", await makeKey("admin", "acme"), 200],
      ["another's api key", await makeKey("api", "globex"), 404],
      ["another's admin key", await makeKey("admin", "globex"), 404],
      ["the local secret, which is of the account local", local, 404],
      ["a runner key", await makeKey("runner", "acme"), 403],
      ["nobody", {}, 401],
    ]
    for (const [name, headers, status] of rows) {
      for (const [list, field] of [
        ["/_/requests", "requests"],
        ["/_/webhooks", "deliveries"],
      ] as const) {
        const shown = await get(`${list}/${id}`, headers)
        expect([name, list, shown.status]).toEqual([name, list, status])
        // Whatever account a query names, it is the caller's own that is listed.
        const answer = await get(`${list}?account=acme`, headers)
        expect([name, list, answer.status]).toEqual([name, list, status === 404 ? 200 : status])
        const found = (answer.json[field] ?? []) as { request_id: string }[]
        expect(found.map((one) => one.request_id)).toEqual(status === 200 ? [id] : [])
      }
      const resent = await gateway.call("POST", `/_/webhooks/${id}/resend`, { headers })
      expect([name, resent.status]).toEqual([name, status === 200 ? 202 : status])
    }
  })

  it("of another are told like unknown ones", async () => {
    await open()
    const id = await oweAsAcme(await makeKey("api", "acme"))
    const unknown = "00000000-0000-4000-8000-000000000000"
    for (const list of ["/_/requests", "/_/webhooks"]) {
      const [theirs, none] = await Promise.all(
        [id, unknown].map((one) => get(`${list}/${one}`, local)),
      )
      const text = theirs!.body.toString().replace(id, unknown)
      expect([theirs!.status, text]).toEqual([404, none!.body.toString()])
    }
  })

  it("made in open mode are of the account local: its keys and the local secret read them", async () => {
    await open()
    const id = await submit()
    const key = await makeKey("api", "local")
    for (const headers of [key, local]) {
      expect((await get(`/_/requests/${id}`, headers)).status).toBe(200)
      expect(listed(await get("/_/requests", headers))).toEqual([id])
    }
  })

  it("what a receiver answered is told to who administers, and in open mode, not to every key", async () => {
    await open()
    const api = await makeKey("api", "acme")
    const id = await oweAsAcme(api)
    for (const [headers, answer] of [
      [api, null],
      [await makeKey("admin", "acme"), "said"],
    ] as const) {
      const { json } = await get(`/_/webhooks/${id}`, headers)
      expect(json["tries"]).toMatchObject([{ status: 500, answer }])
    }
  })
})
