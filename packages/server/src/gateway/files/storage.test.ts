import { randomUUID } from "node:crypto"
import { afterEach, describe, expect, it } from "vitest"
import type { Acl } from "../../domain/files/object-lifecycle.ts"
import { hashSecret } from "../access/credentials.ts"
import { noLimits } from "../access/key-ring.ts"
import {
  type HttpAnswer,
  type HttpCall,
  openTestGateway,
  type TestGateway,
  type TestGatewayOptions,
} from "../gateway.suite.ts"

const opened: TestGateway[] = []
const day = 86_400_000

afterEach(async () => {
  await Promise.all(opened.splice(0).map((gateway) => gateway.close()))
})

async function open(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await openTestGateway(options)
  opened.push(gateway)
  return gateway
}

interface Key {
  id: string
  headers: Record<string, string>
}

async function addKey(gateway: TestGateway, account: string): Promise<Key> {
  const id = randomUUID()
  const key = { id, secretHash: hashSecret("secret"), scope: "api" as const, name: "", apps: [] }
  await gateway.store.createKey({ ...key, account, limits: noLimits })
  gateway.hints.keyChanged(id)
  return { id, headers: { authorization: `Key ${id}:secret` } }
}

async function say(
  gateway: TestGateway,
  method: string,
  path: string,
  headers: HttpCall["headers"] = {},
  body: object = {},
): Promise<HttpAnswer> {
  const isSaid = method !== "GET" && method !== "HEAD"
  return await gateway.call(method, path, {
    headers: { "content-type": "application/json", ...headers },
    ...(isSaid ? { body: JSON.stringify(body) } : {}),
  })
}

/** Sends a file at once; answers its URL. */
async function upload(
  gateway: TestGateway,
  headers: HttpCall["headers"] = {},
  content = "hello",
): Promise<string> {
  const answer = await gateway.call("POST", "/files/upload", {
    headers: { "content-type": "image/png", "x-fal-file-name": "a.png", ...headers },
    body: content,
  })
  expect([answer.status, answer.body.toString()]).toEqual([200, expect.any(String)])
  return String(answer.json["access_url"])
}

async function read(gateway: TestGateway, url: string, headers: HttpCall["headers"] = {}) {
  return await gateway.call("GET", url.slice(gateway.url.length), { headers })
}

async function statusesOf(
  gateway: TestGateway,
  url: string,
  callers: HttpCall["headers"][],
): Promise<number[]> {
  const answers = await Promise.all(callers.map((headers) => read(gateway, url, headers)))
  return answers.map(({ status }) => status)
}

async function makeToken(
  gateway: TestGateway,
  headers: HttpCall["headers"] = {},
  body: object = {},
): Promise<Record<string, string>> {
  const path = "/rest/storage/auth/token?storage_type=fal-cdn-v3"
  const answer = await say(gateway, "POST", path, headers, body)
  expect(answer.status).toBe(200)
  return answer.json as Record<string, string>
}

function bearing({ token_type: type, token }: Record<string, string>) {
  return { authorization: `${type} ${token}` }
}

describe("an upload token", () => {
  it("opens the way in for files, says until when with an offset, and where to", async () => {
    const now = Date.parse("2026-03-01T10:00:00.000Z")
    const gateway = await open({ clock: () => now })
    const { headers } = await addKey(gateway, "ann")
    const made = await makeToken(gateway, headers)
    expect(made).toMatchObject({
      token_type: "Bearer",
      base_url: gateway.url,
      expires_at: "2026-03-02T10:00:00.000+00:00",
    })
    const url = await upload(gateway, bearing(made))
    expect(url).toMatch(/\/files\/b\/[0-9a-f]{8}\/[\w-]{22}_a\.png$/)
    expect((await gateway.store.file(url.split("/files/")[1]!))?.account).toBe("ann")
  })

  it("opens nothing but files", async () => {
    const gateway = await open()
    const { headers } = await addKey(gateway, "ann")
    const token = bearing(await makeToken(gateway, headers))
    for (const [method, path] of [
      ["POST", "/queue/fal-ai/flux/dev"],
      ["POST", "/run/fal-ai/flux/dev"],
      ["GET", "/_/requests"],
      ["GET", "/v1/models"],
      ["POST", "/rest/storage/auth/token"],
      ["POST", "/rest/storage/upload/initiate"],
      ["GET", "/v1/storage/settings"],
    ] as const) {
      expect((await say(gateway, method, path, token)).status).toBe(401)
    }
  })

  it("dies at its time, with its key, and when a letter of it is another", async () => {
    let now = Date.now()
    const gateway = await open({ clock: () => now })
    const { id, headers } = await addKey(gateway, "ann")
    await addKey(gateway, "bob")
    const send = async (token: Record<string, string>) =>
      await gateway.call("POST", "/files/upload", { headers: bearing(token), body: "x" })
    const made = await makeToken(gateway, headers, { expiration_seconds: 10 })
    expect((await send(made)).status).toBe(200)
    const { token = "" } = made
    for (const forged of [`${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`, `e${token}`]) {
      expect((await send({ ...made, token: forged })).status).toBe(401)
    }
    now += 10_000
    const late = await send(made)
    expect([late.status, late.json["detail"]]).toEqual([401, "The upload token has expired"])
    const longer = await makeToken(gateway, headers)
    await gateway.store.revokeKey(id)
    gateway.hints.keyChanged(id)
    expect((await send(longer)).status).toBe(401)
  })

  it("made in open mode is nothing once there is a key", async () => {
    const gateway = await open()
    const made = await makeToken(gateway)
    await upload(gateway, bearing(made))
    await addKey(gateway, "ann")
    const refused = await gateway.call("POST", "/files/upload", {
      headers: bearing(made),
      body: "x",
    })
    expect(refused.status).toBe(401)
  })

  it.each([0, -1, 1.5, "5", 31 * 24 * 3_600])("for %j seconds is refused", async (seconds) => {
    const gateway = await open()
    const path = "/rest/storage/auth/token"
    const answer = await say(gateway, "POST", path, {}, { expiration_seconds: seconds })
    expect([answer.status, answer.json["detail"]]).toMatchObject([
      422,
      [{ loc: ["body", "expiration_seconds"], type: "int_type", input: seconds }],
    ])
    expect((await say(gateway, "POST", `${path}?storage_type=fal-cdn`)).status).toBe(422)
  })

  it("has a file come in parts, whose address is its own key", async () => {
    const gateway = await open()
    const { headers } = await addKey(gateway, "ann")
    const token = bearing(await makeToken(gateway, headers))
    const begun = await gateway.call("POST", "/files/upload/multipart", {
      headers: { ...token, "content-type": "video/mp4", "x-fal-file-name": "v.mp4" },
    })
    const { access_url: url, uploadId: id } = begun.json as Record<string, string>
    expect(url).toMatch(/_v\.mp4$/)
    const path = `${url!.slice(gateway.url.length)}/multipart/${id}`
    const parts = []
    for (const [index, body] of ["one ", "two"].entries()) {
      const put = await gateway.call("PUT", `${path}/${index + 1}`, { headers: token, body })
      expect([put.status, put.headers["etag"]]).toEqual([200, expect.stringMatching(/^".+"$/)])
      parts.push({ partNumber: index + 1, etag: put.headers["etag"] })
    }
    const done = await say(gateway, "POST", `${path}/complete`, token, { parts })
    expect([done.status, done.json["access_url"]]).toEqual([200, url])
    const got = await read(gateway, url!)
    expect([got.body.toString(), got.headers["content-type"]]).toEqual(["one two", "video/mp4"])
  })
})

describe("who may send files", () => {
  it("is who has a key: 401 without, and a URL that was announced needs none", async () => {
    const gateway = await open()
    const { headers } = await addKey(gateway, "ann")
    for (const path of [
      "/files/upload",
      "/files/upload/multipart",
      "/rest/storage/upload/initiate",
      "/rest/storage/auth/token",
    ]) {
      expect((await say(gateway, "POST", path)).status).toBe(401)
    }
    const begun = await say(gateway, "POST", "/rest/storage/upload/initiate", headers)
    const { upload_url: url = "" } = begun.json as Record<string, string>
    const path = url.slice(gateway.url.length)
    const other = { authorization: "Key nobody:knows" }
    expect((await gateway.call("PUT", path, { headers: other, body: "x" })).status).toBe(200)
    await upload(gateway, headers)
    expect((await gateway.call("PUT", "/files/upload", { headers, body: "x" })).status).toBe(405)
  })

  it("finds its URLs on the host that it called [a foreign one, a subdomain, through the proxy]", async () => {
    const gateway = await open({ config: { key: "id:secret" } })
    const headers = { authorization: "Key id:secret" }
    const urls = async (host: string, path: string, more: object = {}) => {
      const answer = await say(gateway, "POST", path, { ...headers, host, ...more })
      return answer.json as Record<string, string>
    }
    const foreign = await urls("rest.fal.ai", "/storage/upload/initiate")
    expect(foreign["upload_url"]).toMatch(/^https:\/\/v3b\.fal\.media\/files\/b\/.+\/upload\/./)
    expect(foreign["file_url"]).toMatch(/^https:\/\/v3b\.fal\.media\/files\/b\/[0-9a-f]{8}\/./)
    const { pathname } = new URL(foreign["upload_url"]!)
    const put = { headers: { host: "v3b.fal.media" }, body: "x" }
    expect((await gateway.call("PUT", pathname, put)).status).toBe(200)
    const token = await urls("rest.alpha.fal.ai", "/storage/auth/token")
    expect(token["base_url"]).toBe("https://v3b.fal.media")
    const direct = await gateway.call("POST", "/files/upload", {
      headers: { ...bearing(token), host: "v3.fal.media" },
      body: "x",
    })
    expect(direct.json["access_url"]).toMatch(/^https:\/\/v3b\.fal\.media\/files\/b\//)
    const port = `localhost:${gateway.port}`
    const named = await urls(`rest.${port}`, "/storage/upload/initiate")
    expect(named["upload_url"]).toMatch(new RegExp(`^http://${port}/files/b/`))
    const proxied = await urls(`localhost:${gateway.port}`, "/api/fal/proxy", {
      "x-fal-target-url": "https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3",
    })
    expect(proxied["upload_url"]).toMatch(new RegExp(`^http://${port}/files/b/`))
  })

  it("may be a page elsewhere, whose browser asks first", async () => {
    const gateway = await open({ config: { allowedOrigins: ["https://app.example.com"] } })
    const begun = await say(gateway, "POST", "/rest/storage/upload/initiate")
    const { upload_url: url = "" } = begun.json as Record<string, string>
    const origin = "https://app.example.com"
    const asked = await gateway.call("OPTIONS", url.slice(gateway.url.length), {
      headers: {
        origin,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type",
      },
    })
    expect([asked.status, asked.headers]).toMatchObject([
      204,
      {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": expect.stringContaining("PUT"),
        "access-control-allow-headers": "content-type",
      },
    ])
    const put = await gateway.call("PUT", url.slice(gateway.url.length), {
      headers: { origin, "content-type": "image/png", "sec-fetch-site": "cross-site" },
      body: "x",
    })
    expect([put.status, put.headers["access-control-allow-origin"]]).toEqual([200, origin])
    expect(put.headers["access-control-expose-headers"]).toContain("etag")
  })

  it("leaves no capability in the log", async () => {
    const gateway = await open()
    const begun = await say(gateway, "POST", "/rest/storage/upload/initiate")
    const { upload_url: url = "" } = begun.json as Record<string, string>
    const [, capability = "none"] = url.split("/upload/")
    const logged = gateway.nextEntry()
    await gateway.call("PUT", url.slice(gateway.url.length), { body: "x" })
    await logged
    expect(JSON.stringify(gateway.entries)).toContain("/upload/redacted")
    expect(JSON.stringify(gateway.entries)).not.toContain(capability)
  })
})

describe("a file's lifecycle", () => {
  const acl: Acl = { default: "hide", rules: [] }

  it.each(["x-fal-object-lifecycle", "X-Fal-Object-Lifecycle-Preference"])(
    "is what %s says [announced, at once]",
    async (name) => {
      let now = Date.now()
      const gateway = await open({ clock: () => now })
      const headers = {
        [name]: JSON.stringify({ expiration_duration_seconds: 60, initial_acl: acl }),
      }
      const begun = await say(gateway, "POST", "/rest/storage/upload/initiate", headers)
      const { upload_url: url, file_url: file } = begun.json as Record<string, string>
      now += 30_000
      await gateway.call("PUT", url!.slice(gateway.url.length), { body: "x" })
      for (const stored of [file!, await upload(gateway, headers)]) {
        const row = await gateway.store.file(stored.split("/files/")[1]!)
        expect([row?.acl, row?.expiresAt]).toEqual([acl, now + 60_000])
      }
      now += 60_000
      expect((await read(gateway, file!)).status).toBe(404)
    },
  )

  it("that cannot be understood is refused, wherever it comes", async () => {
    const gateway = await open()
    const headers = { "x-fal-object-lifecycle": '{"initial_acl": "private"}' }
    const detail = "x-fal-object-lifecycle is not valid: initial_acl must be an object"
    for (const path of [
      "/files/upload",
      "/files/upload/multipart",
      "/rest/storage/upload/initiate",
    ]) {
      const refused = await say(gateway, "POST", path, headers)
      expect([refused.status, refused.json["detail"]]).toEqual([400, detail])
    }
  })

  it("is its account's where it says nothing, and never another account's", async () => {
    const now = Date.now()
    const gateway = await open({ clock: () => now })
    const [ann, bob] = [await addKey(gateway, "ann"), await addKey(gateway, "bob")]
    const path = "/v1/storage/settings"
    const none = { expiration_duration_seconds: null, initial_acl: null }
    expect((await say(gateway, "GET", path, ann.headers)).json).toEqual(none)
    const rules = ["bob", "nobody"].map((user) => ({ user, decision: "allow" }))
    const set = await say(gateway, "PUT", path, ann.headers, {
      expiration_duration_seconds: 86_400,
      initial_acl: { default: "forbid", rules },
    })
    const kept = {
      expiration_duration_seconds: 86_400,
      initial_acl: { default: "forbid", rules: rules.slice(0, 1) },
    }
    expect([set.status, set.json]).toEqual([200, kept])
    const changed = { expiration_duration_seconds: null }
    expect((await say(gateway, "PUT", path, ann.headers, changed)).json).toEqual({
      ...kept,
      ...changed,
    })
    await say(gateway, "PUT", path, ann.headers, { expiration_duration_seconds: 86_400 })
    expect((await say(gateway, "GET", path, ann.headers)).json).toEqual(kept)
    expect((await say(gateway, "GET", path, bob.headers)).json).toEqual(none)
    const url = await upload(gateway, ann.headers)
    const row = await gateway.store.file(url.split("/files/")[1]!)
    expect(row?.expiresAt).toBe(now + day)
    expect(await statusesOf(gateway, url, [{}, ann.headers, bob.headers])).toEqual([403, 200, 200])
    const theirs = await upload(gateway, bob.headers)
    expect(await statusesOf(gateway, theirs, [{}])).toEqual([200])
    for (const body of [{ expiration_duration_seconds: 0.5 }, { initial_acl: { default: 1 } }]) {
      const refused = await say(gateway, "PUT", path, ann.headers, body)
      expect([refused.status, refused.json["error"]]).toMatchObject([
        400,
        { type: "validation_error", message: expect.stringContaining("The body is not valid") },
      ])
    }
  })
})

describe("a file's ACL", () => {
  it.each(["/rest/storage/files/acl", "/v1/storage/files/acl"])(
    "is read and replaced at %s, and holds at once",
    async (route) => {
      const gateway = await open()
      const [ann, bob, eve] = [
        await addKey(gateway, "ann"),
        await addKey(gateway, "bob"),
        await addKey(gateway, "eve"),
      ]
      const url = await upload(gateway, ann.headers)
      const path = `${route}?url=${encodeURIComponent(url)}`
      const open200 = { default: "allow", rules: [] }
      expect((await say(gateway, "GET", path, ann.headers)).json).toEqual(open200)
      const callers = [{}, ann.headers, bob.headers, eve.headers]
      const rules = [
        { user: "bob", decision: "allow" },
        { user: "eve", decision: "hide" },
        { user: "eve", decision: "forbid" },
        { user: "nobody", decision: "allow" },
      ]
      for (const [decision, statuses] of [
        ["allow", [200, 200, 200, 403]],
        ["forbid", [403, 200, 200, 403]],
        ["hide", [404, 200, 200, 403]],
      ] as const) {
        const acl = { default: decision, rules }
        const set = await say(gateway, "PUT", path, ann.headers, acl)
        expect([set.status, set.json]).toEqual([200, { ...acl, rules: rules.slice(0, 3) }])
        expect(await statusesOf(gateway, url, callers)).toEqual(statuses)
      }
      const hidden = await read(gateway, url)
      expect(hidden.body).toEqual((await read(gateway, `${url}x`)).body)
    },
  )

  it("is its owner's alone: to others the file is what it is when they read it", async () => {
    const gateway = await open()
    const [ann, bob] = [await addKey(gateway, "ann"), await addKey(gateway, "bob")]
    const url = await upload(gateway, ann.headers)
    const path = `/v1/storage/files/acl?url=${url}`
    expect((await say(gateway, "GET", path, bob.headers)).status).toBe(403)
    expect((await say(gateway, "GET", path)).status).toBe(401)
    await say(gateway, "PUT", path, ann.headers, { default: "hide" })
    for (const method of ["GET", "PUT"]) {
      const answer = await say(gateway, method, path, bob.headers, { default: "allow" })
      expect([answer.status, answer.json["error"]]).toMatchObject([404, { type: "not_found" }])
    }
    for (const asked of ["", "?url=x", `?url=${encodeURIComponent(`${url}?identity=1`)}`]) {
      const answer = await say(gateway, "GET", `/v1/storage/files/acl${asked}`, ann.headers)
      expect(answer.status).toBe(400)
    }
    const bad = await say(gateway, "PUT", path, ann.headers, { default: "private" })
    expect(bad.status).toBe(400)
  })
})

describe("a signed URL", () => {
  it.each(["forbid", "hide"] as const)(
    "opens a file that its ACL would %s, until its time [the file's own route, the platform's]",
    async (decision) => {
      let now = Date.now()
      const gateway = await open({ clock: () => now })
      const { headers } = await addKey(gateway, "ann")
      const lifecycle = JSON.stringify({ initial_acl: { default: decision } })
      const url = await upload(gateway, { ...headers, "x-fal-object-lifecycle": lifecycle })
      const refused = decision === "hide" ? 404 : 403
      expect(await statusesOf(gateway, url, [{}])).toEqual([refused])
      const own = await say(gateway, "POST", `${url.slice(gateway.url.length)}/sign`, headers, {
        duration: 60,
        scope: ["read"],
      })
      expect(own.headers["content-type"]).toMatch(/^text\/plain/)
      const platform = await say(gateway, "POST", `/v1/storage/files/sign?url=${url}`, headers, {
        expiration_seconds: 60,
      })
      for (const signed of [own.body.toString(), String(platform.json["signed_url"])]) {
        expect(signed.startsWith(`${url}?identity=`)).toBe(true)
        const got = await read(gateway, signed)
        expect([got.status, got.body.toString()]).toEqual([200, "hello"])
        expect(got.headers["cache-control"]).toBe("private, no-cache")
        expect((await read(gateway, `${signed}x`)).status).toBe(refused)
      }
      now += 61_000
      const late = await read(gateway, own.body.toString())
      expect([late.status, late.json["detail"]]).toEqual(
        decision === "hide" ? [404, "File not found"] : [403, "This signed URL has expired"],
      )
    },
  )

  it("is for its file alone, is none of its uploads, and is its owner's to make", async () => {
    const gateway = await open()
    const [ann, bob] = [await addKey(gateway, "ann"), await addKey(gateway, "bob")]
    const secret = JSON.stringify({ initial_acl: { default: "forbid" } })
    const hidden = { ...ann.headers, "x-fal-object-lifecycle": secret }
    const [one, other] = [await upload(gateway, hidden), await upload(gateway, hidden)]
    const path = `${one.slice(gateway.url.length)}/sign`
    const signed = (await say(gateway, "POST", path, ann.headers)).body.toString()
    expect((await read(gateway, signed)).status).toBe(200)
    const [, identity] = signed.split("?identity=")
    expect((await read(gateway, `${other}?identity=${identity}`)).status).toBe(403)
    const put = `${one.slice(gateway.url.length)}/upload/${identity}`
    expect((await gateway.call("PUT", put, { body: "x" })).status).toBe(403)
    expect((await say(gateway, "POST", path, bob.headers)).status).toBe(403)
    expect((await say(gateway, "POST", path)).status).toBe(401)
    expect((await say(gateway, "GET", path)).status).toBe(405)
  })

  it.each([
    [{ duration: 0 }],
    [{ duration: 604_801 }],
    [{ duration: "1h" }],
    [{ scope: ["write"] }],
    [{ scope: [] }],
    [{ scope: "read" }],
  ])("with %j is refused", async (body) => {
    const gateway = await open()
    const url = await upload(gateway)
    const path = `${url.slice(gateway.url.length)}/sign`
    expect((await say(gateway, "POST", path, {}, body)).status).toBe(400)
    const platform = `/v1/storage/files/sign?url=${url}`
    expect((await say(gateway, "POST", platform)).status).toBe(400)
  })
})
