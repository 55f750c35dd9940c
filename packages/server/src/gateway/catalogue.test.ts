import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openTestGateway, type TestGateway } from "./gateway.suite.ts"

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openTestGateway()
})
afterAll(async () => {
  await gateway.close()
})

describe("openapi.json", () => {
  const path = "/api/openapi/queue/openapi.json?endpoint_id="

  it("is the endpoint's document with the caller's queue as its server", async () => {
    const { status, json } = await gateway.call("GET", `${path}fal-ai/flux/dev`)
    expect(status).toBe(200)
    expect(json).toEqual({
      openapi: "3.0.4",
      info: { title: "Queue OpenAPI for fal-ai/flux/dev" },
      servers: [{ url: `${gateway.url}/queue` }],
    })
    const named = await gateway.call("GET", `${path}fal-ai/flux/dev`, {
      headers: { host: "localhost:9999" },
    })
    expect(named.json["servers"]).toEqual([{ url: "http://localhost:9999/queue" }])
  })

  it.each(["fal-ai/nope", "", "fal-ai/flux/schnell", "__proto__", "constructor"])(
    "is 404 with the body null without one [%s]",
    async (id) => {
      const answer = await gateway.call("GET", path + id)
      expect([answer.status, answer.body.toString()]).toEqual([404, "null"])
    },
  )
})

const ids = (json: Record<string, unknown>) =>
  (Array.isArray(json["models"]) ? json["models"] : []).map(
    ({ endpoint_id: id }: { endpoint_id: string }) => id,
  )

describe("GET /v1/models", () => {
  it("lists every endpoint with all required metadata", async () => {
    const { status, json } = await gateway.call("GET", "/v1/models")
    expect(status).toBe(200)
    expect(json).toMatchObject({ next_cursor: null, has_more: false })
    expect(ids(json)).toEqual(["fal-ai/flux/dev", "fal-ai/flux/schnell", "tintype/echo"])
    expect(json["models"]).toMatchObject([
      {
        metadata: {
          display_name: "FLUX.1 [dev]",
          category: "text-to-image",
          description: "",
          status: "active",
          tags: [],
          is_favorited: null,
          highlighted: false,
          pinned: false,
          model_url: `${gateway.url}/fal-ai/flux/dev`,
          stream_url: `${gateway.url}/fal-ai/flux/dev/stream`,
        },
      },
      { metadata: { display_name: "fal-ai/flux/schnell" } },
      { metadata: { display_name: "tintype/echo" } },
    ])
    const streams = JSON.stringify(json["models"]).match(/stream_url/g)
    expect(streams).toHaveLength(1)
  })

  it.each([
    ["endpoint_id=tintype/echo", ["tintype/echo"]],
    ["endpoint_id=tintype/echo,fal-ai/flux/dev", ["fal-ai/flux/dev", "tintype/echo"]],
    ["endpoint_id=tintype/echo&endpoint_id=fal-ai/flux/dev", ["fal-ai/flux/dev", "tintype/echo"]],
    ["category=text-to-image", ["fal-ai/flux/dev"]],
    ["status=deprecated", []],
    ["q=FLUX.1", ["fal-ai/flux/dev"]],
    ["q=schnell", ["fal-ai/flux/schnell"]],
  ])("chooses by %s", async (query, expected) => {
    expect(ids((await gateway.call("GET", `/v1/models?${query}`)).json)).toEqual(expected)
  })

  it("expands openapi-3.0, or says for which it cannot", async () => {
    const { json } = await gateway.call("GET", "/v1/models?expand=openapi-3.0")
    const failed = {
      error: {
        code: "expansion_failed",
        message: "OpenAPI schema not available for this endpoint",
      },
    }
    expect(json["models"]).toMatchObject([
      { openapi: { openapi: "3.0.4", servers: [{ url: `${gateway.url}/queue` }] } },
      { openapi: failed },
      { openapi: failed },
    ])
  })

  it("pages by cursor until there is no more", async () => {
    const seen: string[] = []
    let cursor = ""
    for (let pages = 0; pages < 3; pages += 1) {
      const query = cursor === "" ? "" : `&cursor=${cursor}`
      const { json } = await gateway.call("GET", `/v1/models?limit=1${query}`)
      seen.push(...ids(json))
      expect(json["has_more"]).toBe(pages < 2)
      cursor = String(json["next_cursor"])
    }
    expect(seen).toEqual(["fal-ai/flux/dev", "fal-ai/flux/schnell", "tintype/echo"])
    expect(cursor).toBe("null")
  })

  it.each([
    ["GET", "/v1/models?cursor=nonsense", 400, "validation_error"],
    ["GET", "/v1/models?limit=0", 400, "validation_error"],
    ["GET", `/v1/models?endpoint_id=${"a/b,".repeat(51)}`, 400, "validation_error"],
    ["GET", "/v1/models?endpoint_id=fal-ai/nope", 404, "not_found"],
    ["POST", "/v1/models", 405, "validation_error"],
    ["GET", "/v1/models/usage", 501, "not_implemented"],
    ["GET", "/v1/keys", 501, "not_implemented"],
  ])("%s %s is %d %s in the shape of the platform API", async (method, path, status, type) => {
    const answer = await gateway.call(method, path)
    expect(answer.status).toBe(status)
    expect(answer.json["error"]).toEqual({
      type,
      message: expect.any(String),
      request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
  })
})

describe("health", () => {
  it("is 200 while listening, and 503 with ?ready until there are runners", async () => {
    const health = { ready: false, detail: { apps: { "fal-ai/flux": false } } }
    const waiting = await openTestGateway({ parts: { health: () => health } })
    const plain = await waiting.call("GET", "/health")
    expect([plain.status, plain.json]).toEqual([
      200,
      { status: "ok", ready: false, apps: { "fal-ai/flux": false } },
    ])
    expect((await waiting.call("GET", "/health?ready")).status).toBe(503)
    health.ready = true
    expect((await waiting.call("GET", "/health?ready")).status).toBe(200)
    expect((await waiting.call("HEAD", "/health")).status).toBe(200)
    expect((await waiting.call("POST", "/health")).status).toBe(405)
    await waiting.close()
  })
})
