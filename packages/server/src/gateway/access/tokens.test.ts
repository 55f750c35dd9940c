import { once } from "node:events"
import { request as httpRequest, type IncomingMessage } from "node:http"
import { SignJWT, UnsecuredJWT } from "jose"
import { afterEach, describe, expect, it } from "vitest"
import { localSecret, openTestGateway, type TestGateway } from "../gateway.suite.ts"
import { mintToken, type Grant } from "./tokens.ts"

const local = { authorization: `Local ${localSecret}` }
const json = { "content-type": "application/json" }
const unknownId = "00000000-0000-4000-8000-000000000000"

let gateway: TestGateway
let nowMs: number

/** Of the tests' own; tokens are judged by the same clock. */
async function open(): Promise<void> {
  nowMs = Date.now()
  gateway = await openTestGateway({ clock: () => nowMs })
}

afterEach(async () => {
  await gateway.close()
})

async function makeKey(fields: object = {}): Promise<{ id: string; authorization: string }> {
  const body = JSON.stringify({ scope: "api", name: "test", ...fields })
  const { json: made } = await gateway.call("POST", "/_/keys", { headers: local, body })
  return { id: String(made["key_id"]), authorization: `Key ${String(made["key"])}` }
}

async function post(path: string, body: unknown, authorization?: string) {
  const headers = authorization === undefined ? json : { ...json, authorization }
  const text = typeof body === "string" ? body : JSON.stringify(body)
  return await gateway.call("POST", path, { headers, body: text })
}

/** The official clients' body. */
async function mint(authorization?: string, apps = ["flux"], seconds = 120): Promise<string> {
  const asked = { allowed_apps: apps, token_expiration: seconds }
  const { status, body } = await post("/rest/tokens/", asked, authorization)
  expect(status).toBe(200)
  return JSON.parse(body.toString()) as string
}

/** What a token opens: 404 is the answer of those who may ask. */
async function probe(token: string, app = "fal-ai/flux"): Promise<[number, unknown]> {
  const path = `/queue/${app}/requests/${unknownId}/status/stream?fal_jwt_token=${token}`
  const answer = await gateway.call("GET", path)
  return [answer.status, answer.json["detail"]]
}

async function submit(authorization: string): Promise<string> {
  const { json: made } = await post("/queue/fal-ai/flux/dev", {}, authorization)
  return String(made["request_id"])
}

describe("making tokens", () => {
  it("answers a bare string, and an object on the newer route", async () => {
    await open()
    const { authorization } = await makeKey()
    const asked = { allowed_apps: ["flux"], token_expiration: 120 }
    const older = await post("/rest/tokens/", asked, authorization)
    expect(JSON.parse(older.body.toString())).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
    expect(older.headers["cache-control"]).toBe("no-store")
    const full = { allowed_apps: ["fal-ai/flux/realtime"], duration: 60 }
    const newer = await post("/rest/tokens/realtime", full, authorization)
    expect(newer.json).toEqual({ token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/) })
    const single = { app: "fal-ai/flux/realtime", duration: 60 }
    expect((await post("/rest/tokens/realtime", single, authorization)).json).toHaveProperty(
      "token",
    )
  })

  it("is for keys that call apps, and for open mode", async () => {
    await open()
    const asked = { allowed_apps: ["flux"], token_expiration: 120 }
    expect((await post("/rest/tokens/", asked)).status).toBe(200)
    const { authorization: runner } = await makeKey({ scope: "runner", apps: ["fal-ai/*"] })
    const { authorization: admin } = await makeKey({ scope: "admin" })
    expect((await post("/rest/tokens/", asked)).json).toEqual({
      detail: "Authorization header is required",
    })
    expect((await post("/rest/tokens/", asked, runner)).status).toBe(403)
    expect((await post("/rest/tokens/", asked, admin)).status).toBe(200)
    const read = await gateway.call("GET", "/rest/tokens/", { headers: { authorization: admin } })
    expect([read.status, read.headers["allow"]]).toEqual([405, "POST"])
  })

  it.each([
    ["missing", ["body", "allowed_apps"], {}],
    ["list_type", ["body", "allowed_apps"], { allowed_apps: "flux" }],
    ["too_short", ["body", "allowed_apps"], { allowed_apps: [] }],
    ["too_long", ["body", "allowed_apps"], { allowed_apps: Array(51).fill("flux") }],
    ["string_type", ["body", "allowed_apps", 1], { allowed_apps: ["flux", 7] }],
    ["value_error", ["body", "allowed_apps", 0], { allowed_apps: ["../flux"] }],
    ["int_type", ["body", "duration"], { allowed_apps: ["f"], duration: "soon" }],
    ["int_type", ["body", "duration"], { allowed_apps: ["f"], duration: 1.5 }],
    ["int_type", ["body", "duration"], { allowed_apps: ["f"], duration: ["5"] }],
    ["greater_than", ["body", "duration"], { allowed_apps: ["f"], duration: 0 }],
    [
      "less_than_equal",
      ["body", "token_expiration"],
      { allowed_apps: ["f"], token_expiration: 86_401 },
    ],
    ["model_attributes_type", ["body"], []],
    ["json_invalid", ["body"], ""],
  ])("refuses what FastAPI would, as it would [%s at %j]", async (type, loc, body) => {
    await open()
    const answer = await post("/rest/tokens/", body)
    expect(answer.status).toBe(422)
    expect(answer.json["detail"]).toEqual([expect.objectContaining({ type, loc })])
  })

  it("takes the longest duration, and no body that makes a token too long for a URL", async () => {
    await open()
    const { authorization } = await makeKey()
    expect((await probe(await mint(authorization, ["flux"], 86_400)))[0]).toBe(404)
    const long = Array.from({ length: 50 }, (_, index) => `owner/${"x".repeat(100)}${index}`)
    expect((await post("/rest/tokens/", { allowed_apps: long }, authorization)).status).toBe(413)
  })
})

describe("what a token opens", () => {
  it("the status stream of its own account's requests", async () => {
    await open()
    const { authorization } = await makeKey()
    const { authorization: other } = await makeKey({ account: "acme" })
    const id = await submit(authorization)
    const path = `/queue/fal-ai/flux/requests/${id}/status/stream?fal_jwt_token=`
    await gateway.settle(await gateway.claim())
    const own = await gateway.call("GET", path + (await mint(authorization)))
    expect([own.status, own.body.toString()]).toEqual([200, expect.stringContaining("COMPLETED")])
    expect((await gateway.call("GET", path + (await mint(other)))).status).toBe(404)
  })

  it("apps of its alias, whoever owns them, on a stream", async () => {
    await open()
    const { authorization } = await makeKey()
    const token = await mint(authorization)
    // It gets as far as its door, which knows no such app.
    const known = await post(`/run/someone/flux/stream?fal_jwt_token=${token}`, {})
    expect(known.json["detail"]).toBe('Application "someone/flux" not found')
    const foreign = await post(`/run/tintype/echo/stream?fal_jwt_token=${token}`, {})
    expect([foreign.status, foreign.json["detail"]]).toEqual([
      403,
      "This token is for flux, not for tintype/echo/stream",
    ])
    expect(await probe(token, "tintype/echo")).toEqual([
      403,
      "This token is for flux, not for tintype/echo",
    ])
  })

  it("of endpoints with their paths, exactly those", async () => {
    await open()
    const { authorization } = await makeKey()
    const token = await mint(authorization, ["someone/flux/stream"])
    const stream = (path: string) => post(`/run/${path}?fal_jwt_token=${token}`, {})
    expect((await stream("someone/flux/stream")).status).toBe(404)
    expect((await stream("someone/flux/dev/stream")).status).toBe(403)
    expect((await stream("other/flux/stream")).status).toBe(403)
    expect((await probe(token, "someone/flux"))[0]).toBe(403)
  })

  it("no app that its account may not call, not even when an admin key made it", async () => {
    await open()
    const app = { id: "acme/secret", endpoints: ["acme/secret"], openapi: {}, metadata: {} }
    await gateway.store.putApp({ ...app, auth: "private", account: "acme", revision: 1 })
    const { authorization: owner } = await makeKey({ account: "acme" })
    const { authorization: admin } = await makeKey({ scope: "admin" })
    expect((await probe(await mint(owner, ["secret"]), "acme/secret"))[0]).toBe(404)
    expect(await probe(await mint(admin, ["secret"]), "acme/secret")).toEqual([
      403,
      'Cannot access application "acme/secret". It is private to its owner.',
    ])
  })

  it("nothing else: no run, no queue, no token, no file, no administration", async () => {
    await open()
    const { authorization } = await makeKey({ scope: "admin" })
    const id = await submit(authorization)
    const query = `?fal_jwt_token=${await mint(authorization)}`
    const asked = { allowed_apps: ["flux"], token_expiration: 120 }
    const request = `/queue/fal-ai/flux/requests/${id}`
    const statuses = [
      await post(`/rest/tokens/${query}`, asked),
      await post(`/rest/tokens/realtime${query}`, asked),
      await post(`/run/fal-ai/flux/dev${query}`, {}),
      await post(`/queue/fal-ai/flux/dev${query}`, {}),
      await gateway.call("GET", `${request}/status${query}`),
      await gateway.call("GET", `${request}${query}`),
      await gateway.call("PUT", `${request}/cancel${query}`),
      await gateway.call("GET", `/v1/models${query}`),
      await gateway.call("GET", `/_/keys${query}`),
      await gateway.call("GET", `/_/requests${query}`),
    ].map(({ status }) => status)
    expect(statuses).toEqual(statuses.map(() => 401))
  })

  it("a key that is shown as well is the one that counts", async () => {
    await open()
    const { authorization } = await makeKey()
    const path = `/queue/fal-ai/flux/requests/${unknownId}/status/stream?fal_jwt_token=nonsense`
    expect((await gateway.call("GET", path, { headers: { authorization } })).status).toBe(404)
  })
})

describe("tokens that open nothing", () => {
  const invalid = [401, "Invalid token"]

  it("those of others, altered ones, and those that are none", async () => {
    await open()
    const { authorization } = await makeKey()
    const token = await mint(authorization)
    const [head = "", claims = "", signature = ""] = token.split(".")
    const stretched = { ...decode(claims), exp: 4_000_000_000 }
    const altered = Buffer.from(JSON.stringify(stretched)).toString("base64url")
    expect(await probe(`${head}.${altered}.${signature}`)).toEqual(invalid)
    expect(await probe("nonsense")).toEqual(invalid)
    expect(await probe("")).toEqual(invalid)
    expect(await probe("a.".repeat(5_000))).toEqual(invalid)
    const foreign = await mintToken(
      { ...gateway.parts, tokenSecret: "another" },
      { account: "local", key: null, apps: ["flux"] },
      60,
    )
    expect(await probe(foreign)).toEqual(invalid)
  })

  it("those that name another algorithm, or none", async () => {
    await open()
    const { authorization } = await makeKey()
    const claims = decode((await mint(authorization)).split(".")[1] ?? "")
    expect(await probe(new UnsecuredJWT(claims).encode())).toEqual(invalid)
    const secret = Buffer.alloc(64, 1)
    const strong = await new SignJWT(claims).setProtectedHeader({ alg: "HS512" }).sign(secret)
    expect(await probe(strong)).toEqual(invalid)
  })

  it("expired ones, from the second of their end on", async () => {
    await open()
    nowMs = 1_800_000_000_000
    const { authorization } = await makeKey()
    const token = await mint(authorization, ["flux"], 120)
    nowMs += 119_999
    expect((await probe(token))[0]).toBe(404)
    nowMs += 1
    expect(await probe(token)).toEqual([401, "The token has expired"])
  })

  it("also in open mode, which takes any key", async () => {
    await open()
    const token = await mint()
    expect((await probe(token))[0]).toBe(404)
    expect((await probe(token, "tintype/echo"))[0]).toBe(403)
    expect(await probe("nonsense")).toEqual(invalid)
  })

  it("those of open mode when it has ended", async () => {
    await open()
    const token = await mint()
    await makeKey()
    expect(await probe(token)).toEqual([
      401,
      "The key that this token was made with is no longer valid",
    ])
  })

  it("those of a revoked key; a stream that one holds open is closed", async () => {
    await open()
    await makeKey()
    const { id, authorization } = await makeKey()
    const request = await submit(authorization)
    const token = await mint(authorization)
    const path = `/queue/fal-ai/flux/requests/${request}/status/stream?fal_jwt_token=${token}`
    const outgoing = httpRequest({
      host: "127.0.0.1",
      port: gateway.port,
      path,
      agent: false,
    }).end()
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage]
    const closed = Promise.withResolvers<void>()
    incoming
      .resume()
      .on("error", () => {})
      .on("close", closed.resolve)
    expect(incoming.statusCode).toBe(200)
    await gateway.call("DELETE", `/_/keys/${id}`, { headers: local })
    await closed.promise
    expect((await probe(token))[0]).toBe(401)
    await gateway.settle(await gateway.claim())
  })

  it("those that were made with another bootstrap key", async () => {
    await open()
    const { parts } = gateway
    const grant: Grant = { account: "local", key: "root", apps: ["flux"] }
    const config = { ...parts.config, key: "root:one" }
    const token = await mintToken({ ...parts, config }, grant, 60)
    await gateway.close()
    gateway = await openTestGateway({ config: { key: "root:two" } })
    expect(await probe(token)).toEqual(invalid)
    await gateway.close()
    gateway = await openTestGateway({ config: { key: "root:one" } })
    expect((await probe(token))[0]).toBe(404)
  })
})

it("no token stands in the log", async () => {
  await open()
  const { authorization } = await makeKey()
  const token = await mint(authorization)
  await probe(token)
  const target = `https://fal.run/fal-ai/flux/stream?fal_jwt_token=${token}`
  const headers = { ...json, "x-fal-target-url": target }
  await gateway.call("POST", "/api/fal/proxy", { headers, body: "not JSON" })
  expect(JSON.stringify(gateway.entries)).toContain("fal_jwt_token=redacted")
  expect(JSON.stringify(gateway.entries)).not.toContain(token.split(".")[2])
})

function decode(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>
}
