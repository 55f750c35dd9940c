import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { defaultConfig } from "../config.ts"
import type { Acl, FileAccess } from "../domain/files/object-lifecycle.ts"
import { chunked, localSecret, openTestGateway, type TestGateway, text } from "./gateway.suite.ts"

const day = 24 * 3_600_000
const endpoint = "/queue/fal-ai/flux/dev"
const unknown = { detail: "Request not found", status: "NOT_FOUND" }
const notKept = { detail: "The result of this request is not kept any more" }

let now = 1_700_000_000_000
let gateway: TestGateway

beforeEach(async () => {
  now = 1_700_000_000_000
  gateway = await openTestGateway({ clock: () => now })
})

afterEach(async () => {
  await gateway.close()
})

async function submit(headers: Record<string, string> = {}): Promise<string> {
  const type = { "content-type": "application/json" }
  const answer = await gateway.call("POST", endpoint, {
    headers: { ...type, ...headers },
    body: "{}",
  })
  expect([answer.status, answer.json["detail"]]).toEqual([200, undefined])
  return String(answer.json["request_id"])
}

/** A request that has ended. */
async function finish(headers: Record<string, string> = {}, output = '{"ok":true}') {
  const id = await submit(headers)
  await gateway.settle(await gateway.claim(), { body: text(output) })
  return id
}

const prune = () =>
  gateway.store.prune({ policy: gateway.parts.config.retention, rowsMax: 100, budgetMs: 1_000 })

function paths(id: string): [string, string][] {
  const url = `/queue/fal-ai/flux/requests/${id}`
  return [
    ["GET", url],
    ["GET", `${url}/response`],
    ["GET", `${url}/status`],
    ["GET", `${url}/status/stream`],
    ["PUT", `${url}/cancel`],
  ]
}

const result = (id: string) => gateway.call("GET", `/queue/fal-ai/flux/requests/${id}`)
const status = (id: string) => gateway.call("GET", `/queue/fal-ai/flux/requests/${id}/status`)

describe("a request that is past its retention", () => {
  test("is unknown to every route from that moment on, before and after it is pruned [in the snapshots, not]", async () => {
    const id = await finish()
    const never = "00000000-0000-4000-8000-000000000000"
    now += defaultConfig.retention.requestMs - 1
    expect((await result(id)).status).toBe(200)
    expect((await status(id)).status).toBe(200)
    now += 1
    expect(await gateway.parts.snapshots.get(id)).not.toBeNull()
    expect(await gateway.store.request(id)).not.toBeNull()
    for (const [method, path] of paths(id)) {
      const answer = await gateway.call(method, path)
      const other = await gateway.call(method, path.replace(id, never))
      expect([path, answer.status, answer.json]).toEqual([path, 404, unknown])
      expect({ ...answer.headers, date: "" }).toEqual({ ...other.headers, date: "" })
    }
    expect(await prune()).toMatchObject({ requests: 1 })
    // The snapshot is still there, and still nobody is told.
    expect(await gateway.parts.snapshots.get(id)).not.toBeNull()
    for (const [method, path] of paths(id)) {
      const answer = await gateway.call(method, path)
      expect([path, answer.status, answer.json]).toEqual([path, 404, unknown])
    }
  })

  test("is in no list of its account either", async () => {
    const id = await finish()
    now += defaultConfig.retention.requestMs
    const other = await finish()
    const listed = (await gateway.call("GET", "/_/requests")).json["requests"]
    expect(listed).toMatchObject([{ request_id: other }])
    expect((await gateway.call("GET", `/_/requests/${id}`)).status).toBe(404)
    expect((await gateway.call("GET", `/_/requests/${other}`)).status).toBe(200)
  })

  test("is told as long as it has not ended, however old", async () => {
    const id = await submit()
    now += 10 * defaultConfig.retention.requestMs
    expect(await status(id)).toMatchObject({ status: 202, json: { status: "IN_QUEUE" } })
    await gateway.settle(await gateway.claim())
    expect((await result(id)).status).toBe(200)
  })

  test("is so by the configuration, and when it is read from its row", async () => {
    await gateway.close()
    const retention = { ...defaultConfig.retention, requestMs: day }
    const limits = { snapshotBytesMax: 0 }
    gateway = await openTestGateway({ clock: () => now, config: { retention }, limits })
    const id = await finish()
    now += day - 1
    expect((await status(id)).status).toBe(200)
    now += 1
    expect((await status(id)).json).toEqual(unknown)
  })
})

describe("a result that is not kept any more", () => {
  test("answers 404 with its reason while the status still answers [before and after it is pruned]", async () => {
    const id = await finish({ "x-fal-store-io": "0" })
    now += defaultConfig.retention.unstoredResultMs - 1
    expect(await result(id)).toMatchObject({ status: 200, json: { ok: true } })
    now += 1
    for (const results of [1, 0]) {
      const answer = await result(id)
      expect([answer.status, answer.json]).toEqual([404, notKept])
      expect(answer.headers["x-fal-request-id"]).toBe(id)
      expect(await status(id)).toMatchObject({ status: 200, json: { status: "COMPLETED" } })
      expect(await prune()).toMatchObject({ results })
    }
    expect((await result(id)).json).toEqual(notKept)
  })

  test("goes after 6 minutes when it is of 10 KiB or more [in its row, in a blob]", async () => {
    const { unstoredLargeResultMs } = defaultConfig.retention
    const inline = await finish({ "x-fal-store-io": "0" }, JSON.stringify("x".repeat(10_238)))
    const id = await submit({ "x-fal-store-io": "0" })
    const { name, bytes } = await gateway.parts.blobs.write(chunked(Buffer.alloc(40_000, "1")))
    await gateway.settle(await gateway.claim(), { body: { blob: name, bytes } })
    const small = await finish({ "x-fal-store-io": "0" }, JSON.stringify("x".repeat(10_237)))
    now += unstoredLargeResultMs - 1
    expect((await result(id)).body.length).toBe(40_000)
    expect((await result(inline)).status).toBe(200)
    now += 1
    expect((await result(id)).json).toEqual(notKept)
    expect((await result(inline)).json).toEqual(notKept)
    expect((await result(small)).status).toBe(200)
    expect(await prune()).toMatchObject({ inputs: 3, results: 2, blobs: [name] })
  })

  test("is told from one whose blob is being deleted while it is read", async () => {
    const id = await submit({ "x-fal-store-io": "0" })
    const { name, bytes } = await gateway.parts.blobs.write(chunked(Buffer.alloc(40_000, "1")))
    await gateway.settle(await gateway.claim(), { body: { blob: name, bytes } })
    const { blobs } = gateway.parts
    const read = blobs.read.bind(blobs)
    blobs.read = async (...input) => {
      // The pruner comes by between the look at the row and the look at the blob.
      now += day
      for (const gone of (await prune()).blobs) await blobs.delete(gone)
      return await read(...input)
    }
    const answer = await result(id)
    expect([answer.status, answer.json]).toEqual([404, notKept])
  })

  test("by the configuration goes for a stored request, too", async () => {
    await gateway.close()
    const retention = { ...defaultConfig.retention, resultMs: day }
    gateway = await openTestGateway({ clock: () => now, config: { retention } })
    const id = await finish()
    now += day
    expect((await result(id)).json).toEqual(notKept)
    expect((await status(id)).status).toBe(200)
  })

  test("is not answered to a direct call either that repeats another by its key", async () => {
    const headers = { "x-fal-store-io": "0", "idempotency-key": "once" }
    const call = () => gateway.call("POST", "/run/fal-ai/flux/dev", { headers, body: "{}" })
    const claimed = gateway.claimNext()
    const first = call()
    await gateway.settle(await claimed)
    expect(await first).toMatchObject({ status: 200, json: { ok: true } })
    now += defaultConfig.retention.unstoredResultMs - 1
    expect(await call()).toMatchObject({ status: 200, json: { ok: true } })
    now += 1
    expect(await call()).toMatchObject({ status: 404, json: notKept })
  })

  test("is still answered to the direct call that waited for it", async () => {
    await gateway.close()
    const retention = { ...defaultConfig.retention, resultMs: 1 }
    gateway = await openTestGateway({ clock: () => now, config: { retention } })
    const claimed = gateway.claimNext()
    const answer = gateway.call("POST", "/run/fal-ai/flux/dev", { body: "{}" })
    const claim = await claimed
    const ended = gateway.committed(({ state }) => state === "succeeded")
    void ended.then(() => (now += day))
    await gateway.settle(claim)
    expect(await answer).toMatchObject({ status: 200, json: { ok: true } })
  })
})

describe("X-Fal-Store-IO", () => {
  test.each([
    ["0", false],
    ["false", false],
    ["no", false],
    ["1", true],
    ["", true],
  ])("%j: payloads are kept: %s", async (value, storeIo) => {
    const id = await submit({ "x-fal-store-io": value })
    expect(await gateway.store.request(id)).toMatchObject({ storeIo })
  })

  test("and the lifecycle do not reach the app", async () => {
    const lifecycle = '{"expiration_duration_seconds": 60}'
    const headers = { "x-fal-store-io": "0", "x-fal-object-lifecycle-preference": lifecycle }
    await submit({ ...headers, "x-of-mine": "1" })
    const { headers: passed } = await gateway.claim()
    expect(passed).toMatchObject({ "x-of-mine": "1" })
    expect(Object.keys(passed).filter((name) => name.startsWith("x-fal-"))).toEqual([])
  })
})

describe("X-Fal-Object-Lifecycle-Preference", () => {
  const name = "x-fal-object-lifecycle-preference"

  test("travels with the request", async () => {
    const id = await submit({
      [name]: '{"expiration_duration_seconds": 60, "initial_acl": {"default": "hide"}}',
    })
    const lifecycle = { expirationMs: 60_000, acl: { default: "hide", rules: [] } }
    expect(await gateway.store.request(id)).toMatchObject({ lifecycle })
    expect((await gateway.claim()).request).toMatchObject({ lifecycle })
  })

  test.each([
    ["nonsense", "it must be a JSON object"],
    ['{"expiration_duration_seconds": "1h"}', "expiration_duration_seconds must be a whole number"],
    ['{"initial_acl": {"default": "deny"}}', "initial_acl.default must be allow, forbid, hide"],
  ])("%s is refused, 400, and nothing is submitted", async (value, why) => {
    for (const path of [endpoint, "/run/fal-ai/flux/dev"]) {
      const answer = await gateway.call("POST", path, { headers: { [name]: value }, body: "{}" })
      expect([answer.status, answer.json["error_type"]]).toEqual([400, "bad_request"])
      expect(answer.json["detail"]).toContain(`${name} is not valid: ${why}`)
    }
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  })
})

/** Of the files that one test makes, in its order. */
async function statuses(headers: Record<string, string>): Promise<number[]> {
  const answers = ["hide.png", "forbid.png", "public.png"].map((file) => get(file, headers))
  return (await Promise.all(answers)).map(({ status: code }) => code)
}

const get = (file: string, headers: Record<string, string> = {}, method = "GET") =>
  gateway.call(method, `/files/${file}`, { headers })

describe("a file", () => {
  const content = Buffer.from("bytes of a file")

  async function addFile(file: string, access: Partial<FileAccess> = {}) {
    const blob = await gateway.parts.blobs.write(chunked(content))
    const times = { createdAt: now, expiresAt: null, acl: null }
    const what = { bytes: content.length, contentType: "image/png", request: null }
    await gateway.store.addFile({
      name: file,
      account: "local",
      blobs: [blob],
      ...what,
      ...times,
      ...access,
    })
  }

  test("that has expired looks like an unknown one, before and after it is pruned", async () => {
    await addFile("a.png", { expiresAt: now + 90_000 })
    const first = await get("a.png")
    expect(first.headers["cache-control"]).toBe("public, max-age=90, immutable")
    const etag = String(first.headers["etag"])
    now += 90_000
    const other = await get("b.png")
    for (const files of [1, 0]) {
      for (const method of ["GET", "HEAD"]) {
        const answer = await get("a.png", { "if-none-match": etag }, method)
        expect([answer.status, answer.headers["etag"]]).toEqual([404, undefined])
        expect(answer.body.toString()).toBe(method === "GET" ? other.body.toString() : "")
      }
      expect(await prune()).toMatchObject({ files })
    }
  })

  test("is cached no longer than the hosted service says, when it expires later or never", async () => {
    await addFile("a.png", { expiresAt: now + 365 * day })
    await addFile("b.png")
    for (const file of ["a.png", "b.png"]) {
      expect((await get(file)).headers["cache-control"]).toBe("public, max-age=5184000, immutable")
    }
  })

  test("is open to its owner, and to others as its access list says", async () => {
    const keys = await makeKeys(["local", "ann", "bob", "carl"])
    const rules: Acl["rules"] = [
      { user: "ann", decision: "allow" },
      { user: "bob", decision: "hide" },
      { user: "stranger", decision: "allow" },
    ]
    await addFile("forbid.png", { acl: { default: "forbid", rules } })
    await addFile("hide.png", { acl: { default: "hide", rules } })
    await addFile("allow.png", { acl: { default: "allow", rules } })
    const told: Record<number, unknown[]> = {
      200: [undefined, "private, no-cache"],
      403: ["This file may not be read by this caller", undefined],
      404: ["File not found", undefined],
    }
    const seen: Record<string, number[]> = {}
    for (const caller of ["local", "ann", "bob", "carl", "nobody"]) {
      const key = keys.get(caller)
      const headers = key === undefined ? {} : { authorization: `Key ${key}` }
      seen[caller] = []
      for (const file of ["forbid.png", "hide.png", "allow.png"]) {
        const answer = await get(file, headers)
        const head = await get(file, { ...headers, range: "bytes=0-1" }, "HEAD")
        expect(head.status).toBe(answer.status === 200 ? 206 : answer.status)
        seen[caller].push(answer.status)
        expect([answer.json["detail"], answer.headers["cache-control"]]).toEqual(
          told[answer.status],
        )
      }
    }
    expect(seen).toEqual({
      local: [200, 200, 200],
      ann: [200, 200, 200],
      bob: [404, 404, 404],
      carl: [403, 404, 200],
      nobody: [403, 404, 200],
    })
  })

  test("is its owner's alone in open mode, too: the page of another site gets what is public", async () => {
    await addFile("hide.png", { acl: { default: "hide", rules: [] } })
    await addFile("forbid.png", { acl: { default: "forbid", rules: [] } })
    await addFile("public.png")
    expect(await statuses({})).toEqual([200, 200, 200])
    expect(await statuses({ "sec-fetch-site": "same-origin" })).toEqual([200, 200, 200])
    expect(await statuses({ "sec-fetch-site": "cross-site" })).toEqual([404, 403, 200])
  })

  test("is hidden from a caller who has a copy of it, too", async () => {
    await makeKeys(["local"])
    await addFile("a.png", { acl: { default: "hide", rules: [] } })
    const blob = (await gateway.store.file("a.png"))?.blobs[0]
    expect((await get("a.png", { "if-none-match": `"${blob?.name}"` })).status).toBe(404)
  })
})

/** A key of each account, as `id:secret`; from the first on the server is not open. */
async function makeKeys(accounts: string[]): Promise<Map<string, string>> {
  const keys = new Map<string, string>()
  for (const account of accounts) {
    const answer = await gateway.call("POST", "/_/keys", {
      headers: { authorization: `Local ${localSecret}` },
      body: JSON.stringify({ scope: "api", account, name: account }),
    })
    keys.set(account, String(answer.json["key"]))
  }
  return keys
}
