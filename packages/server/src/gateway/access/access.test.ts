import { request as httpRequest, type IncomingMessage } from "node:http"
import { afterEach, describe, expect, it } from "vitest"
import {
  type HttpAnswer,
  localSecret,
  openTestGateway,
  type TestGateway,
  type TestGatewayOptions,
} from "../gateway.suite.ts"

const local = { authorization: `Local ${localSecret}` }
const unknownId = "00000000-0000-4000-8000-000000000000"

let gateway: TestGateway

async function open(options: TestGatewayOptions = {}): Promise<void> {
  gateway = await openTestGateway(options)
}

afterEach(async () => {
  await gateway.close()
})

async function makeKey(fields: object = {}): Promise<{ id: string; key: string; auth: object }> {
  const body = JSON.stringify({ scope: "api", name: "test", ...fields })
  const answer = await gateway.call("POST", "/_/keys", { headers: local, body })
  expect([answer.status, answer.json["detail"]]).toEqual([201, undefined])
  const { key_id: id, key } = answer.json
  return { id: String(id), key: String(key), auth: { authorization: `Key ${String(key)}` } }
}

async function call(
  method: string,
  path: string,
  headers: object,
  body?: string,
): Promise<HttpAnswer> {
  return await gateway.call(method, path, {
    headers: { ...headers, "content-type": "application/json" },
    ...(body === undefined ? {} : { body }),
  })
}

async function submit(auth: object, endpoint = "fal-ai/flux/dev"): Promise<string> {
  const answer = await call("POST", `/queue/${endpoint}`, auth, "{}")
  expect(answer.status).toBe(200)
  return String(answer.json["request_id"])
}

/** A call whose answer does not end; resolves with what it began with. */
async function hang(method: string, path: string, headers: object, body?: string) {
  const outgoing = httpRequest({
    host: "127.0.0.1",
    port: gateway.port,
    method,
    path,
    headers: { ...headers },
    agent: false,
  })
  const closed = Promise.withResolvers<"closed">()
  const answered = Promise.withResolvers<void>()
  outgoing.on("error", () => closed.resolve("closed"))
  outgoing.on("response", (incoming: IncomingMessage) => {
    answered.resolve()
    incoming
      .resume()
      .on("error", () => {})
      .on("close", () => closed.resolve("closed"))
  })
  outgoing.end(body)
  return { outgoing, answered: answered.promise, closed: closed.promise }
}

describe("the first key", () => {
  it("switches open mode off at once, and its revocation on again", async () => {
    await open()
    expect((await call("POST", "/queue/fal-ai/flux/dev", {}, "{}")).status).toBe(200)
    const { id, auth } = await makeKey()
    expect((await call("POST", "/queue/fal-ai/flux/dev", {}, "{}")).status).toBe(401)
    expect((await call("POST", "/queue/fal-ai/flux/dev", auth, "{}")).status).toBe(200)
    const revoked = await call("DELETE", `/_/keys/${id}`, local)
    expect(revoked.json).toMatchObject({ key_id: id, open_mode: true })
    expect((await call("POST", "/queue/fal-ai/flux/dev", {}, "{}")).status).toBe(200)
  })

  it("what open mode made belongs to the account local", async () => {
    await open()
    const id = await submit({})
    const { auth } = await makeKey()
    const { auth: other } = await makeKey({ account: "acme" })
    expect((await call("GET", `/queue/fal-ai/flux/requests/${id}/status`, auth)).status).toBe(202)
    expect((await call("GET", `/queue/fal-ai/flux/requests/${id}/status`, other)).status).toBe(404)
  })

  it("a server bound elsewhere stays closed when the last key is revoked", async () => {
    await open({ config: { host: "0.0.0.0" } })
    expect((await call("POST", "/queue/fal-ai/flux/dev", {}, "{}")).status).toBe(401)
    const { id, auth } = await makeKey()
    expect((await call("POST", "/queue/fal-ai/flux/dev", auth, "{}")).status).toBe(200)
    expect((await call("DELETE", `/_/keys/${id}`, local)).json).toMatchObject({ open_mode: false })
    expect((await call("POST", "/queue/fal-ai/flux/dev", {}, "{}")).status).toBe(401)
    expect((await call("POST", "/queue/fal-ai/flux/dev", auth, "{}")).status).toBe(401)
  })

  it("a key that appears in the store without a hint counts within a second", async () => {
    await open()
    expect((await call("GET", "/v1/models", {})).status).toBe(200)
    const limits = { concurrencyMax: null, requestsPerSecondMax: null, bodyBytesMax: null }
    const key = { id: "k", secretHash: "", scope: "api", name: "", account: "local" } as const
    await gateway.store.createKey({ ...key, apps: [], limits })
    await expect
      .poll(async () => (await call("GET", "/v1/models", {})).status, { timeout: 1_000 })
      .toBe(401)
  })
})

describe("credentials on the wire (§2.4)", () => {
  it("each refusal has the hosted service's text", async () => {
    await open()
    const { id, key, auth } = await makeKey()
    const secret = key.slice(id.length + 1)
    const format = "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."
    const rows: [string | undefined, number, string | null][] = [
      [`Key ${key}`, 200, null],
      [`key ${key}`, 200, null],
      [`Bearer ${key}`, 200, null],
      [`Key ${id}:${secret.slice(1)}`, 401, "invalid key credentials"],
      [`Key ${unknownId}:${secret}`, 401, "invalid key credentials"],
      [`Bearer ${id}:nope`, 401, "invalid key credentials"],
      [`Key ${id}`, 401, format],
      ["Basic YTpi", 401, format],
      ["Bearer eyJhbGciOiJIUzI1NiJ9", 401, "bearer: unable to decode issuer"],
      [`Local ${localSecret}`, 401, "invalid key credentials"],
    ]
    for (const [authorization, status, detail] of rows) {
      const headers = authorization === undefined ? {} : { authorization }
      const answer = await call("POST", "/queue/fal-ai/flux/dev", headers, "{}")
      expect([authorization, answer.status]).toEqual([authorization, status])
      expect(answer.json).toMatchObject(detail === null ? { status: "IN_QUEUE" } : { detail })
    }
    const none = await call("POST", "/queue/fal-ai/flux/dev", {}, "{}")
    expect(none.status).toBe(401)
    expect(none.json["detail"]).toMatch(/^Cannot access application "fal-ai\/flux"/)
    expect((await call("GET", "/rest/storage/upload/initiate", {})).json).toEqual({
      detail: "Authorization header is required",
    })
    expect((await call("POST", "/queue/no/such", auth, "{}")).json).toMatchObject({
      detail: 'Application "no/such" not found',
    })
    const platform = await call("GET", "/v1/models", { authorization: "Key a:b" })
    expect(platform.status).toBe(401)
    expect(platform.json["error"]).toMatchObject({ type: "authorization_error" })
    // The probe that costs nothing: 404 with a valid key, 401 with an invalid one.
    const probe = `/queue/fal-ai/flux/requests/${unknownId}/status`
    expect((await call("GET", probe, auth)).status).toBe(404)
    expect((await call("GET", probe, { authorization: "Key a:b" })).status).toBe(401)
  })

  it("no credential stands in the log", async () => {
    await open()
    const { key, auth } = await makeKey()
    await submit(auth)
    await call("GET", `/v1/models?key=${key}&secret=${key}`, auth)
    expect(JSON.stringify(gateway.entries)).not.toContain(key.split(":")[1])
  })
})

describe("scopes", () => {
  it("what each may do", async () => {
    await open()
    const keys = {
      api: (await makeKey()).auth,
      admin: (await makeKey({ scope: "admin" })).auth,
      runner: (await makeKey({ scope: "runner" })).auth,
      local,
      none: {},
    }
    const rows: [string, string, Record<keyof typeof keys, number>][] = [
      [
        "POST",
        "/queue/fal-ai/flux/dev",
        { api: 200, admin: 200, runner: 403, local: 401, none: 401 },
      ],
      ["GET", "/v1/models", { api: 200, admin: 200, runner: 403, local: 401, none: 401 }],
      ["GET", "/_/keys", { api: 403, admin: 200, runner: 403, local: 200, none: 401 }],
      ["GET", "/_/requests", { api: 200, admin: 200, runner: 403, local: 200, none: 401 }],
      ["GET", "/_/webhooks", { api: 200, admin: 200, runner: 403, local: 200, none: 401 }],
      ["GET", "/health", { api: 200, admin: 200, runner: 200, local: 200, none: 200 }],
      [
        "GET",
        `/queue/fal-ai/flux/requests/${unknownId}`,
        { api: 404, admin: 404, runner: 403, local: 401, none: 401 },
      ],
    ]
    for (const [method, path, expected] of rows) {
      for (const [name, auth] of Object.entries(keys)) {
        const { status } = await call(method, path, auth, method === "POST" ? "{}" : undefined)
        expect([method, path, name, status]).toEqual([
          method,
          path,
          name,
          expected[name as keyof typeof keys],
        ])
      }
    }
  })

  it("in open mode keys are still administered with the local secret alone", async () => {
    await open()
    for (const headers of [{}, { authorization: "Key a:b" }, { authorization: "Local nope" }]) {
      expect((await call("GET", "/_/keys", headers)).status).toBe(401)
      expect((await call("POST", "/_/keys", headers, '{"scope":"admin"}')).status).toBe(401)
    }
    expect((await call("GET", "/_/keys", local)).json).toEqual({ keys: [] })
  })

  it("an admin key administers other accounts and reads its own requests only", async () => {
    await open()
    const { auth: admin } = await makeKey({ scope: "admin" })
    const { id, auth } = await makeKey({ account: "acme" })
    const request = await submit(auth)
    const status = `/queue/fal-ai/flux/requests/${request}/status`
    expect((await call("GET", status, admin)).status).toBe(404)
    expect((await call("DELETE", `/_/keys/${id}`, admin)).status).toBe(200)
    expect((await call("GET", status, auth)).status).toBe(401)
  })
})

describe("accounts", () => {
  it("another account's request is 404 exactly like an unknown one, on every route", async () => {
    await open()
    const { auth } = await makeKey({ account: "acme" })
    const { auth: other } = await makeKey({ account: "globex" })
    const id = await submit(auth)
    const routes: [string, string][] = [
      ["GET", ""],
      ["GET", "/status?logs=1"],
      ["GET", "/status/stream"],
      ["GET", "/response"],
      ["PUT", "/cancel"],
    ]
    for (const [method, path] of routes) {
      const [theirs, unknown] = await Promise.all(
        [id, unknownId].map((one) =>
          call(method, `/queue/fal-ai/flux/requests/${one}${path}`, other),
        ),
      )
      expect([path, theirs!.status, theirs!.json]).toEqual([path, 404, unknown!.json])
    }
    expect((await gateway.store.request(id))?.state).toBe("queued")
    const own = await call("GET", `/queue/fal-ai/flux/requests/${id}/status`, auth)
    expect(own.json).toMatchObject({ status: "IN_QUEUE", request_id: id })
  })
})

/** One app of each mode, of the account `owner`. */
async function openWithApps(): Promise<void> {
  await open()
  const row = { endpoints: [], openapi: {}, metadata: {}, revision: 1 }
  for (const auth of ["private", "shared", "public"] as const) {
    const id = `mode/${auth}`
    const openapi = { [id]: { openapi: "3.0.4" } }
    await gateway.store.putApp({ ...row, id, endpoints: [id], openapi, auth, account: "owner" })
  }
}

describe("auth modes of apps", () => {
  it("private is for its account and admins, shared for any key, public for everyone", async () => {
    await openWithApps()
    const callers = {
      owner: (await makeKey({ account: "owner" })).auth,
      other: (await makeKey({ account: "other" })).auth,
      admin: (await makeKey({ account: "other", scope: "admin" })).auth,
      nobody: {},
    }
    const expected = {
      private: { owner: 200, other: 403, admin: 200, nobody: 401 },
      shared: { owner: 200, other: 200, admin: 200, nobody: 401 },
      public: { owner: 200, other: 200, admin: 200, nobody: 200 },
    }
    for (const [mode, statuses] of Object.entries(expected)) {
      for (const [name, status] of Object.entries(statuses)) {
        const auth = callers[name as keyof typeof callers]
        const answer = await call("POST", `/queue/mode/${mode}`, auth, "{}")
        expect([mode, name, answer.status]).toEqual([mode, name, status])
      }
    }
  })

  it("what nobody made is read by nobody, and not by accounts", async () => {
    await openWithApps()
    const { auth } = await makeKey()
    const id = await submit({}, "mode/public")
    const status = `/queue/mode/public/requests/${id}/status`
    expect((await call("GET", status, {})).json).toMatchObject({ status: "IN_QUEUE" })
    expect((await call("GET", status, auth)).status).toBe(404)
    const shared = await call("GET", `/queue/mode/shared/requests/${id}/status`, {})
    expect(shared.status).toBe(401)
  })

  it("the names and documents of private apps are not told", async () => {
    await openWithApps()
    const { auth } = await makeKey({ account: "other" })
    const { auth: owner } = await makeKey({ account: "owner" })
    const names = async (headers: object) =>
      ((await call("GET", "/v1/models", headers)).json["models"] as { endpoint_id: string }[]).map(
        (model) => model.endpoint_id,
      )
    expect(await names(auth)).not.toContain("mode/private")
    expect(await names(owner)).toContain("mode/private")
    const document = "/api/openapi/queue/openapi.json?endpoint_id=mode/private"
    expect((await call("GET", document, auth)).status).toBe(404)
    expect((await call("GET", document, owner)).status).toBe(200)
    const near = await call("POST", "/queue/mode/privat", auth, "{}")
    expect(near.json["nearest"]).not.toBe("mode/private")
  })

  it("in open mode all are called", async () => {
    await openWithApps()
    for (const mode of ["private", "shared", "public"]) {
      expect((await call("POST", `/queue/mode/${mode}`, {}, "{}")).status).toBe(200)
    }
  })
})

describe("a revoked key", () => {
  it.each(["told", "found out"])("ends streams and waits within a second [%s]", async (how) => {
    await open()
    const { id, auth } = await makeKey()
    const { auth: other } = await makeKey()
    const request = await submit(auth)
    const path = `/queue/fal-ai/flux/requests/${request}`
    const stream = await hang("GET", `${path}/status/stream`, auth)
    const otherStream = await hang("GET", `${path}/status/stream`, other)
    const wait = await hang("GET", `${path}/status`, { ...auth, prefer: "wait=30" })
    const cancelled = gateway.committed((record) => record.state === "cancelled")
    const submitted = gateway.committed((record) => record.door === "run")
    const run = await hang("POST", "/run/fal-ai/flux/dev", auth, "{}")
    await submitted
    await Promise.all([stream.answered, otherStream.answered])
    const startedAt = performance.now()
    if (how === "told") await call("DELETE", `/_/keys/${id}`, local)
    else await gateway.store.revokeKey(id)
    await Promise.all([stream.closed, wait.closed, run.closed])
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    expect(await cancelled).toMatchObject({ door: "run" })
    expect((await call("GET", `${path}/status`, auth)).status).toBe(401)
    // What it made is its account's, and goes on.
    expect((await call("GET", `${path}/status`, other)).status).toBe(202)
    const still = await Promise.race([otherStream.closed, Promise.resolve("open")])
    expect(still).toBe("open")
    otherStream.outgoing.destroy()
  })
})

describe("limits", () => {
  it("run is 429 at the account's limit, the queue waits", async () => {
    await open({ limits: { concurrencyMax: 1 } })
    const first = await submit({})
    const claim = await gateway.claim()
    expect(claim.request.id).toBe(first)
    const refused = await call("POST", "/run/fal-ai/flux/dev", {}, "{}")
    expect(refused.status).toBe(429)
    expect(refused.headers).toMatchObject({
      "x-fal-needs-retry": "1",
      "x-fal-error-type": "concurrent_requests_limit",
      "retry-after": expect.stringMatching(/^[1-9]/),
    })
    expect(refused.json).toMatchObject({
      error_type: "concurrent_requests_limit",
      retry_after: expect.any(Number),
    })
    const second = await submit({})
    await expect(gateway.claim()).rejects.toThrow("nothing to claim")
    const status = await call("GET", `/queue/fal-ai/flux/requests/${second}/status`, {})
    expect(status.json).toMatchObject({ status: "IN_QUEUE", queue_position: 0 })
    await gateway.settle(claim)
    expect((await gateway.claim()).request).toMatchObject({ id: second, attempts: 1 })
  })

  it("the request rate is the account's, over both doors; polls are free", async () => {
    await open({ limits: { requestsPerSecondMax: 2 } })
    const { auth } = await makeKey({ account: "acme" })
    const { auth: same } = await makeKey({ account: "acme" })
    const { auth: other } = await makeKey({ account: "globex" })
    const id = await submit(auth)
    await submit(same)
    const refused = await call("POST", "/run/fal-ai/flux/dev", auth, "{}")
    expect(refused.status).toBe(429)
    expect(refused.headers["retry-after"]).toBe("1")
    expect(refused.json).toMatchObject({ error_type: "request_rate_limit", retry_after: 1 })
    await submit(other)
    const status = `/queue/fal-ai/flux/requests/${id}/status`
    for (let poll = 0; poll < 5; poll += 1) {
      expect((await call("GET", status, auth)).status).toBe(202)
    }
  })

  it("a key narrows rate, body and concurrency for itself alone", async () => {
    await open()
    const limits = { requests_per_second_max: 1, body_bytes_max: 20, concurrency_max: 1 }
    const { auth } = await makeKey({ limits })
    const { auth: wide } = await makeKey()
    const large = JSON.stringify({ prompt: "x".repeat(100) })
    expect((await call("POST", "/queue/fal-ai/flux/dev", wide, large)).status).toBe(200)
    expect((await call("POST", "/queue/fal-ai/flux/dev", auth, large)).status).toBe(413)
    expect((await call("POST", "/queue/fal-ai/flux/dev", auth, "{}")).status).toBe(429)
    expect((await call("POST", "/queue/fal-ai/flux/dev", wide, "{}")).status).toBe(200)
  })
})

describe("/_/keys", () => {
  it.each([
    ["[]", /JSON object/],
    ["{", /JSON object/],
    ['{"scope":"root"}', /scope must be/],
    ['{"scope":"api","nam":"x"}', /Unknown field "nam"/],
    ['{"scope":"api","account":"a b"}', /account/],
    ['{"scope":"api","account":"-"}', /account/],
    ['{"scope":"api","apps":["a/b"]}', /runner/],
    ['{"scope":"runner","apps":["a"]}', /owner\/alias/],
    ['{"scope":"runner","apps":[]}', /1 to/],
    ['{"scope":"api","limits":{"concurrency":1}}', /Unknown limit/],
    ['{"scope":"api","limits":{"concurrency_max":0}}', /above 0/],
    [`{"scope":"api","name":"${"x".repeat(300)}"}`, /name/],
  ])("refuses %s", async (body, detail) => {
    await open()
    const answer = await gateway.call("POST", "/_/keys", { headers: local, body })
    expect(answer.status).toBe(400)
    expect(answer.json["detail"]).toMatch(detail)
    expect(await gateway.store.keys()).toEqual([])
  })

  it("lists what there is, the bootstrap key first, and never a secret", async () => {
    await open({ config: { key: "boot:s3cret" } })
    const admin = { authorization: "Key boot:s3cret" }
    const { id, key } = await makeKey({ scope: "runner", account: "acme" })
    const { json, body } = await call("GET", "/_/keys", admin)
    expect(json["keys"]).toMatchObject([
      { key_id: "boot", scope: "admin", account: "local", name: "TINTYPE_KEY", created_at: null },
      { key_id: id, scope: "runner", account: "acme", apps: ["acme/*"], revoked_at: null },
    ])
    expect(body.toString()).not.toContain("s3cret")
    expect(body.toString()).not.toContain(key.split(":")[1])
    expect((await call("DELETE", "/_/keys/boot", admin)).status).toBe(400)
    expect((await call("DELETE", "/_/keys/nope", admin)).json).toEqual({ detail: "Key not found" })
    expect((await call("PATCH", `/_/keys/${id}`, admin)).status).toBe(405)
    expect((await call("PUT", "/_/keys", admin)).status).toBe(405)
  })

  it("notes when a key was last used, at the latest when the gateway closes", async () => {
    await open()
    const { id, auth } = await makeKey()
    await submit(auth)
    const touched: unknown[] = []
    const touchKeys = gateway.store.touchKeys.bind(gateway.store)
    gateway.store.touchKeys = (uses) => {
      touched.push(...uses)
      return touchKeys(uses)
    }
    await gateway.close()
    expect(touched).toEqual([{ id, at: expect.any(Number) }])
    await open()
  })

  it("holds at most keysMax", async () => {
    await open({ limits: { keysMax: 1 } })
    await makeKey()
    const body = '{"scope":"api"}'
    const answer = await gateway.call("POST", "/_/keys", { headers: local, body })
    expect([answer.status, answer.json["detail"]]).toEqual([
      400,
      expect.stringContaining("keysMax"),
    ])
  })
})
