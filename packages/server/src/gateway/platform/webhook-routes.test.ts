import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { fluxApp, openTestGateway, type TestGateway } from "../gateway.suite.ts"

const hook = "https://me:hidden@example.com/hook?token=hidden"
const jsonType = { "content-type": "application/json" }
const keys = [{ kty: "OKP", crv: "Ed25519", x: "A".repeat(43), kid: "A" }] as const

let gateway: TestGateway
let keyed: TestGateway

/** The part of an OpenAPI document that tells an endpoint's input. */
function documentOf(path: string, fields: object): object {
  const schema = { $ref: "#/components/schemas/In" }
  return {
    components: { schemas: { In: fields } },
    paths: { [path]: { post: { requestBody: { content: { "application/json": { schema } } } } } },
  }
}

beforeAll(async () => {
  gateway = await openTestGateway({ parts: { webhookKeys: [...keys] } })
  keyed = await openTestGateway({
    config: { key: "root:secret" },
    parts: { webhookKeys: [...keys] },
  })
  await gateway.store.putApp({
    ...fluxApp,
    id: "acme/caller",
    endpoints: ["acme/caller", "acme/caller/any"],
    openapi: {
      "acme/caller": documentOf("/acme/caller", {
        allOf: [{ properties: { webhook_url: { type: "string" } } }],
      }),
      "acme/caller/any": documentOf("/acme/caller/any", { properties: { prompt: {} } }),
    },
  })
})

afterEach(async () => {
  await gateway.clear()
})

afterAll(async () => {
  await gateway.close()
  await keyed.close()
})

async function submit(endpoint: string, options: { query?: string; body?: unknown } = {}) {
  const { query = "", body = {} } = options
  return await gateway.call("POST", `/queue/${endpoint}${query}`, {
    headers: jsonType,
    body: typeof body === "string" ? body : JSON.stringify(body),
  })
}

/** What the request of this answer will tell; it is cancelled, so that it owes what it does. */
async function webhookOf(answer: { status: number; json: Record<string, unknown> }) {
  expect(answer.status).toBe(200)
  const id = String(answer.json["request_id"])
  const record = await gateway.store.request(id)
  await gateway.store.cancel({ id, cause: "client_cancelled" })
  return record?.webhook
}

describe("a submit", () => {
  it("names its webhook in the query, percent-encoded", async () => {
    const query = `?fal_webhook=${encodeURIComponent(hook)}`
    expect(await webhookOf(await submit("fal-ai/flux/dev", { query }))).toBe(hook)
    expect(await webhookOf(await submit("fal-ai/flux/dev"))).toBeNull()
  })

  it.each([
    "",
    "nonsense",
    "/hook",
    "ftp%3A%2F%2Fa",
    "https%3A%2F%2F",
    `http://${"a".repeat(5_000)}`,
  ])("whose webhook is no absolute http(s) URL is 400 (%s)", async (text) => {
    const refused = await submit("fal-ai/flux/dev", { query: `?fal_webhook=${text}` })
    expect(refused.status).toBe(400)
    expect(refused.json["error_type"]).toBe("bad_request")
    expect(refused.json["detail"]).toMatch(/^fal_webhook is not/)
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  })

  it("names its webhook in a JSON body, which reaches the app as it came", async () => {
    const body = `{ "webhook_url" : "${hook}",  "seed":18446744073709551615 }`
    const answer = await submit("fal-ai/flux/dev", { body })
    const record = await gateway.store.request(String(answer.json["request_id"]))
    const input = await gateway.store.body(record?.sequence ?? 0, "input")
    expect(input).toEqual({ inline: new Uint8Array(Buffer.from(body)) })
    expect(await webhookOf(answer)).toBe(hook)
  })

  it("is told by the query when both name one", async () => {
    const query = `?fal_webhook=${encodeURIComponent("http://a/query")}`
    const body = { webhook_url: "http://a/body" }
    expect(await webhookOf(await submit("fal-ai/flux/dev", { query, body }))).toBe("http://a/query")
  })

  it("leaves a webhook_url alone that is a field of the endpoint's own", async () => {
    const body = { webhook_url: hook }
    expect(await webhookOf(await submit("acme/caller", { body }))).toBeNull()
    expect(await webhookOf(await submit("acme/caller/any", { body }))).toBe(hook)
    const query = `?fal_webhook=${encodeURIComponent(hook)}`
    expect(await webhookOf(await submit("acme/caller", { query, body }))).toBe(hook)
  })

  it.each([
    ["null", { webhook_url: null }],
    ["a number", { webhook_url: 5 }],
    ["empty", { webhook_url: "" }],
    ["further in", { options: { webhook_url: hook } }],
    ["in a list", [{ webhook_url: hook }]],
    ["in a text", '"\\"webhook_url\\""'],
  ])("asks for none with a webhook_url that is %s", async (_, body) => {
    expect(await webhookOf(await submit("fal-ai/flux/dev", { body }))).toBeNull()
  })

  it("asks for none with a webhook_url in a body too large for the row", async () => {
    const body = { webhook_url: hook, filler: "x".repeat(40_000) }
    expect(await webhookOf(await submit("fal-ai/flux/dev", { body }))).toBeNull()
  })

  it("whose webhook_url is no URL is 400", async () => {
    const refused = await submit("fal-ai/flux/dev", { body: { webhook_url: "nonsense" } })
    expect(refused.status).toBe(400)
    expect(refused.json["detail"]).toMatch(/^webhook_url is not/)
  })

  it("to the run door names its webhook in the query alone", async () => {
    const query = `?fal_webhook=${encodeURIComponent(hook)}`
    for (const [path, webhook] of [
      [`/run/fal-ai/flux/dev${query}`, hook],
      ["/run/fal-ai/flux/dev", null],
    ] as const) {
      const claimed = gateway.claimNext()
      const body = JSON.stringify({ webhook_url: "http://a/body" })
      const answered = gateway.call("POST", path, { headers: jsonType, body })
      const claim = await claimed
      expect(claim.request.webhook).toBe(webhook)
      await gateway.settle(claim)
      expect((await answered).status).toBe(200)
    }
  })

  it("shows neither the query nor the credentials of its webhook in the log", async () => {
    const query = `?fal_webhook=${encodeURIComponent(hook)}`
    const body = { webhook_url: hook }
    await webhookOf(await submit("fal-ai/flux/dev", { query, body }))
    expect(JSON.stringify(gateway.entries)).not.toContain("hidden")
  })
})

describe("the keys of webhooks", () => {
  it.each([
    ["/rest/.well-known/jwks.json", {}],
    ["/.well-known/jwks.json", {}],
    ["/.well-known/jwks.json", { host: "rest.localhost" }],
  ])("are at %s (%o), with and without a key", async (path, headers) => {
    for (const server of [gateway, keyed]) {
      const answer = await server.call("GET", path, { headers: { ...headers } })
      expect(answer.status).toBe(200)
      expect(answer.json).toEqual({ keys })
      expect(answer.headers["cache-control"]).toMatch(/max-age=\d+/)
      expect((await server.call("POST", path, { headers: { ...headers } })).status).toBeGreaterThan(
        400,
      )
    }
  })

  it("are all that the REST surface has", async () => {
    expect((await gateway.call("GET", "/rest/users/current")).status).toBe(501)
  })
})

async function owe(): Promise<string> {
  const query = `?fal_webhook=${encodeURIComponent(hook)}`
  const answer = await submit("fal-ai/flux/dev", { query })
  await webhookOf(answer)
  return String(answer.json["request_id"])
}

function listed({ json }: { json: Record<string, unknown> }): string[] {
  return (json["deliveries"] as { request_id: string }[]).map((one) => one.request_id)
}

describe("/_/webhooks", () => {
  it("shows a delivery and its tries, without the secrets of its URL", async () => {
    const id = await owe()
    const { delivery } = (await gateway.store.delivery(id)) ?? {}
    await gateway.store.recordTry({
      sequence: delivery?.sequence ?? 0,
      number: 1,
      made: { at: 5, durationMs: 7, status: 500, answer: "no", error: null, detail: null },
      policy: { retriesMax: 0, retryBaseMs: 1, retryDelayMaxMs: 1 },
      random: 0,
    })
    const shown = await gateway.call("GET", `/_/webhooks/${id}`)
    expect(shown.status).toBe(200)
    expect(shown.json).toEqual({
      request_id: id,
      url: "https://redacted@example.com/hook?redacted",
      state: "exhausted",
      try_count: 1,
      next_try_at: null,
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      finished_at: "1970-01-01T00:00:00.012Z",
      tries: [
        {
          number: 1,
          at: "1970-01-01T00:00:00.005Z",
          duration_ms: 7,
          status: 500,
          error: null,
          detail: null,
          answer: "no",
        },
      ],
    })
  })

  it("sends one again, and says so to whoever delivers", async () => {
    const id = await owe()
    const hinted = new Promise<void>((resolve) => gateway.hints.onDelivery(resolve))
    const sent = await gateway.call("POST", `/_/webhooks/${id}/resend`)
    expect([sent.status, sent.json["state"]]).toEqual([202, "pending"])
    await hinted
  })

  it("lists page by page, the newest first, and by state", async () => {
    const ids = [await owe(), await owe(), await owe()]
    const first = await gateway.call("GET", "/_/webhooks?limit=2&state=pending")
    expect(listed(first)).toEqual([ids[2], ids[1]])
    const cursor = String(first.json["next_cursor"])
    const second = await gateway.call("GET", `/_/webhooks?limit=1&cursor=${cursor}`)
    expect(listed(second)).toEqual([ids[0]])
    expect(listed(await gateway.call("GET", "/_/webhooks?state=delivered"))).toEqual([])
  })

  it.each([
    ["GET", "/_/webhooks/unknown", 404],
    ["POST", "/_/webhooks/unknown/resend", 404],
    ["GET", "/_/webhooks/a/b", 404],
    ["POST", "/_/webhooks", 405],
    ["GET", "/_/webhooks/unknown/resend", 405],
    ["GET", "/_/webhooks?limit=0", 400],
    ["GET", "/_/webhooks?state=sent", 400],
    ["GET", "/_/webhooks?cursor=x", 400],
  ])("refuses %s %s with %i", async (method, path, status) => {
    expect((await gateway.call(method, path)).status).toBe(status)
  })

  it("is for programs of this machine without a key, and for keys with one", async () => {
    const elsewhere = { headers: { origin: "https://example.com" } }
    expect((await gateway.call("GET", "/_/webhooks", elsewhere)).status).toBe(403)
    expect((await keyed.call("GET", "/_/webhooks")).status).toBe(401)
    const admin = { headers: { authorization: "Key root:secret" } }
    expect((await keyed.call("GET", "/_/webhooks", admin)).status).toBe(200)
  })
})
