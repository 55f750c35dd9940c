import { randomBytes } from "node:crypto"
import { connect } from "node:net"
import { afterEach, describe, expect, it } from "vitest"
import { defaultConfig } from "../../config.ts"
import {
  type HttpAnswer,
  type HttpCall,
  openTestGateway,
  type TestGateway,
  type TestGatewayOptions,
} from "../gateway.suite.ts"

const json = { "content-type": "application/json" }
const opened: TestGateway[] = []
const retention = defaultConfig.retention

afterEach(async () => {
  await Promise.all(opened.splice(0).map((gateway) => gateway.close()))
})

async function open(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await openTestGateway(options)
  opened.push(gateway)
  return gateway
}

interface Upload {
  upload_url: string
  file_url: string
}

/** Announces a file as the clients do. */
async function initiate(
  gateway: TestGateway,
  { multipart = false, ...fields }: { multipart?: boolean } & Record<string, unknown> = {},
  headers: HttpCall["headers"] = {},
): Promise<Upload> {
  const route = multipart ? "initiate-multipart" : "initiate"
  const body = JSON.stringify({ content_type: "image/png", file_name: "cat.png", ...fields })
  const path = `/rest/storage/upload/${route}?storage_type=fal-cdn-v3`
  const answer = await gateway.call("POST", path, { headers: { ...json, ...headers }, body })
  expect([answer.status, answer.body.toString()]).toEqual([200, expect.any(String)])
  return answer.json as unknown as Upload
}

/** Of one of our own URLs, as any program calls it. */
async function call(
  gateway: TestGateway,
  method: string,
  url: string,
  { headers = {}, body = "" }: HttpCall = {},
): Promise<HttpAnswer> {
  expect(url.startsWith(`${gateway.url}/files/`)).toBe(true)
  return await gateway.call(method, url.slice(gateway.url.length), { headers, body })
}

async function read(gateway: TestGateway, url: string, headers: HttpCall["headers"] = {}) {
  return await call(gateway, "GET", url, { headers })
}

async function putParts(gateway: TestGateway, { upload_url: url }: Upload, parts: Buffer[]) {
  const listed = []
  for (const [index, body] of parts.entries()) {
    const answer = await call(gateway, "PUT", `${url}/${index + 1}`, { body })
    expect(answer.status).toBe(200)
    listed.push(answer.json)
  }
  return listed
}

async function complete(gateway: TestGateway, { upload_url: url }: Upload, parts: unknown) {
  const body = JSON.stringify({ parts })
  return await call(gateway, "POST", `${url}/complete`, { headers: json, body })
}

async function blobs(gateway: TestGateway): Promise<string[]> {
  const names: string[] = []
  for await (const name of gateway.parts.blobs.list(-1_000)) names.push(name)
  return names
}

describe("a file that was announced", () => {
  it("is put once, without a key, and read back byte for byte", async () => {
    const gateway = await open()
    const upload = await initiate(gateway)
    expect(upload.file_url).toMatch(/\/files\/b\/[0-9a-f]{8}\/[\w-]{22}_cat\.png$/)
    expect((await read(gateway, upload.file_url)).status).toBe(404)
    const body = randomBytes(300_000)
    const put = await call(gateway, "PUT", upload.upload_url, { body })
    expect([put.status, put.json["file_url"]]).toEqual([200, upload.file_url])
    const got = await read(gateway, upload.file_url)
    expect(got.body.equals(body)).toBe(true)
    expect(got.headers["content-type"]).toBe("image/png")
    const again = await call(gateway, "PUT", upload.upload_url, { body: "other" })
    expect([again.status, again.json["detail"]]).toEqual([
      403,
      "This upload is over: its URL can be used once. Start a new upload",
    ])
    expect((await read(gateway, upload.file_url)).body.equals(body)).toBe(true)
    expect((await blobs(gateway)).length).toBe(1)
  })

  it("may be empty", async () => {
    const gateway = await open()
    const upload = await initiate(gateway, { file_name: "", content_type: "text/plain" })
    expect((await call(gateway, "PUT", upload.upload_url)).status).toBe(200)
    const got = await read(gateway, upload.file_url)
    expect([got.status, got.body.length, got.headers["content-length"]]).toEqual([200, 0, "0"])
    expect(upload.file_url).toMatch(/_file\.txt$/)
  })

  it("is put by one of many who try at a time", async () => {
    const gateway = await open()
    const { upload_url: url, file_url: file } = await initiate(gateway)
    const bodies = Array.from({ length: 8 }, () => randomBytes(100_000))
    const answers = await Promise.all(bodies.map((body) => call(gateway, "PUT", url, { body })))
    expect(answers.filter(({ status }) => status === 403).length).toBe(7)
    const winner = answers.findIndex(({ status }) => status === 200)
    expect((await read(gateway, file)).body.equals(bodies[winner]!)).toBe(true)
    expect((await blobs(gateway)).length).toBe(1)
  })

  it("is put by nobody whose URL is another's, another purpose's, or too old", async () => {
    let now = Date.now()
    const gateway = await open({ clock: () => now })
    const [one, other] = [await initiate(gateway), await initiate(gateway)]
    const capability = other.upload_url.split("/upload/")[1]!
    const wrong = "This server did not make this upload URL"
    for (const [url, detail] of [
      [`${one.file_url}/upload/${capability}`, wrong],
      [`${one.upload_url}x`, wrong],
      [`${one.file_url}/upload/zzzzzz.${capability.split(".")[1]}`, wrong],
      [`${one.file_url}/upload/x`, wrong],
    ] as const) {
      const refused = await call(gateway, "PUT", url, { body: "x" })
      expect([refused.status, refused.json["detail"]]).toEqual([403, detail])
    }
    // Whole seconds stand in the URL.
    now += retention.uploadMs + 1_000
    const late = await call(gateway, "PUT", one.upload_url, { body: "x" })
    expect([late.status, late.json["detail"]]).toEqual([
      403,
      "This upload URL has expired: start a new upload",
    ])
    expect(await blobs(gateway)).toEqual([])
  })

  it.each([
    ["../../etc/passwd", "passwd.png"],
    ["..%2f..%2fx.png", "2f.._2fx.png"],
    ["猫 und Ünï.png", "und_n_.png"],
    [`a"; filename="b.html\r\nx: y`, "a_filename_b.html_x_y"],
    ["x".repeat(5_000), `${"x".repeat(84)}.png`],
    ["", "file.png"],
  ])("named %j is kept under a name that is safe everywhere", async (given, kept) => {
    const gateway = await open()
    const upload = await initiate(gateway, { file_name: given })
    expect(upload.file_url.replace(/^.*\/[\w-]{22}_/, "")).toBe(kept)
    await call(gateway, "PUT", upload.upload_url, { body: "x" })
    expect((await read(gateway, upload.file_url)).body.toString()).toBe("x")
  })

  it.each(["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml"])(
    "of type %s is handed over as a download that can run nothing",
    async (type) => {
      const gateway = await open()
      const upload = await initiate(gateway, { content_type: type, file_name: "page" })
      const body = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
      // What the PUT calls it makes no difference.
      await call(gateway, "PUT", upload.upload_url, {
        headers: { "content-type": "image/png" },
        body,
      })
      expect((await read(gateway, upload.file_url)).headers).toMatchObject({
        "content-type": type,
        "content-disposition": "attachment",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
      })
    },
  )

  it.each(["file_name", "content_type"])("whose %s is no text is refused", async (field) => {
    const gateway = await open()
    const body = JSON.stringify({ [field]: 5 })
    const path = "/rest/storage/upload/initiate"
    const answer = await gateway.call("POST", path, { headers: json, body })
    expect([answer.status, answer.json["detail"]]).toMatchObject([
      422,
      [{ loc: ["body", field], msg: "Input should be a valid string", input: 5 }],
    ])
  })

  it("is refused with a body that is no JSON object, an unknown storage and a wrong method", async () => {
    const gateway = await open()
    const path = "/rest/storage/upload/initiate"
    for (const [body, detail] of [
      ["{", "The body is not valid JSON"],
      ["[]", "The body must be a JSON object"],
      ["x".repeat(300_000), "The body is larger than 262144 bytes"],
    ] as const) {
      const answer = await gateway.call("POST", path, { headers: json, body })
      expect(answer.json["detail"]).toBe(detail)
      expect([400, 413]).toContain(answer.status)
    }
    const elsewhere = await gateway.call("POST", `${path}?storage_type=s3`, { body: "{}" })
    expect([elsewhere.status, elsewhere.json["detail"]]).toMatchObject([
      422,
      [{ loc: ["query", "storage_type"], msg: "Input should be 'fal-cdn-v3' or 'gcs'" }],
    ])
    expect((await gateway.call("POST", `${path}/?storage_type=gcs`)).status).toBe(200)
    expect((await gateway.call("GET", path)).status).toBe(405)
    expect((await gateway.call("POST", "/rest/storage/upload/other")).status).toBe(404)
  })
})

describe("a file that comes in parts", () => {
  const parts = [randomBytes(70_000), randomBytes(1), randomBytes(120_000)]
  const whole = Buffer.concat(parts)

  it("is one file of them all, whatever the order of their coming and of the list", async () => {
    const gateway = await open()
    const upload = await initiate(gateway, { multipart: true })
    const listed: Record<string, unknown>[] = []
    for (const index of [2, 0, 1]) {
      const answer = await call(gateway, "PUT", `${upload.upload_url}/${index + 1}`, {
        body: parts[index]!,
      })
      expect(answer.headers["content-type"]).toBe("application/json")
      expect(answer.json).toEqual({ partNumber: index + 1, etag: answer.headers["etag"] })
      listed.push(answer.json)
    }
    expect((await read(gateway, upload.file_url)).status).toBe(404)
    const done = await complete(gateway, upload, listed)
    expect([done.status, done.json["file_url"]]).toEqual([200, upload.file_url])
    expect((await read(gateway, upload.file_url)).body.equals(whole)).toBe(true)
    // The first answer may have been lost; nothing more is stored by it.
    expect((await complete(gateway, upload, listed)).status).toBe(200)
    const late = await call(gateway, "PUT", `${upload.upload_url}/4`, { body: "x" })
    expect(late.status).toBe(403)
    expect((await blobs(gateway)).length).toBe(3)
  })

  it("is read in ranges across its parts", async () => {
    const gateway = await open()
    const upload = await initiate(gateway, { multipart: true })
    await complete(gateway, upload, await putParts(gateway, upload, parts))
    for (const [start, end] of [
      [0, 69_999],
      [69_999, 70_000],
      [69_999, 70_001],
      [70_000, 70_000],
      [70_001, 190_000],
      [0, 190_000],
      [10, 150_000],
    ] as const) {
      const got = await read(gateway, upload.file_url, { range: `bytes=${start}-${end}` })
      expect([got.status, got.headers["content-range"]]).toEqual([
        206,
        `bytes ${start}-${end}/190001`,
      ])
      expect(got.body.equals(whole.subarray(start, end + 1))).toBe(true)
    }
    const head = await call(gateway, "HEAD", upload.file_url)
    expect([head.status, head.headers["content-length"]]).toEqual([200, "190001"])
    const { etag = "" } = head.headers
    expect((await read(gateway, upload.file_url, { "if-none-match": etag })).status).toBe(304)
  })

  it("keeps the last of a part that is sent again; the bytes of the other are gone", async () => {
    const gateway = await open()
    const upload = await initiate(gateway, { multipart: true })
    const [first] = await putParts(gateway, upload, [Buffer.from("first")])
    const [same] = await putParts(gateway, upload, [Buffer.from("first")])
    expect(same).toEqual(first)
    const [last] = await putParts(gateway, upload, [Buffer.from("last")])
    expect((await blobs(gateway)).length).toBe(1)
    const stale = await complete(gateway, upload, [first])
    expect([stale.status, stale.json["detail"]]).toEqual([
      400,
      "Parts whose etag is another one: 1",
    ])
    expect((await complete(gateway, upload, [last])).status).toBe(200)
    expect((await read(gateway, upload.file_url)).body.toString()).toBe("last")
  })

  it("is refused by the numbers of what is missing, unlisted or of another etag, and can be completed after", async () => {
    const gateway = await open()
    const upload = await initiate(gateway, { multipart: true })
    const listed = await putParts(gateway, upload, parts)
    for (const [list, detail] of [
      [[...listed, { partNumber: 4, etag: "x" }], "Parts that did not come: 4"],
      [listed.slice(0, 2), "Parts that came and are not listed: 3"],
      [[], "No parts are listed"],
      [[...listed.slice(0, 2), { partNumber: 3, etag: "x" }], "Parts whose etag is another one: 3"],
      ["all", "parts must be a list, of at most 1000"],
      [[{ partNumber: 1.5, etag: "x" }], 'parts.0 must be {"partNumber", "etag"}'],
      [[{ partNumber: 1 }], 'parts.0 must be {"partNumber", "etag"}'],
      [[null], 'parts.0 must be {"partNumber", "etag"}'],
    ] as const) {
      const refused = await complete(gateway, upload, list)
      expect([refused.status, refused.json["detail"]]).toEqual([400, detail])
    }
    expect((await complete(gateway, upload, listed)).status).toBe(200)
  })

  it("has no empty part but its single one: a client that lost its bytes learns it [later parts, the first]", async () => {
    const gateway = await open()
    const upload = await initiate(gateway, { multipart: true })
    const listed = await putParts(gateway, upload, [Buffer.from("x")])
    const empty = await call(gateway, "PUT", `${upload.upload_url}/2`)
    expect(empty.status).toBe(400)
    expect(empty.json["detail"]).toMatch(/^Part 2 is empty\. Only .* use upload_file$/)
    expect((await complete(gateway, upload, listed)).status).toBe(200)

    const second = await initiate(gateway, { multipart: true })
    const both = await putParts(gateway, second, [Buffer.alloc(0)])
    const more = await call(gateway, "PUT", `${second.upload_url}/2`, { body: "x" })
    const refused = await complete(gateway, second, [...both, more.json])
    expect(refused.json["detail"]).toMatch(/^Parts that are empty: 1\./)

    const third = await initiate(gateway, { multipart: true })
    const single = await putParts(gateway, third, [Buffer.alloc(0)])
    expect((await complete(gateway, third, single)).status).toBe(200)
  })

  it("comes in the older form too: a URL for each part, and etags without quotes", async () => {
    const gateway = await open()
    const path = "/rest/storage/upload/initiate-multipart?storage_type=gcs"
    const body = JSON.stringify({ file_name: "a.bin", content_type: "application/x" })
    const upload = (await gateway.call("POST", path, { headers: json, body }))
      .json as unknown as Upload
    const listed = []
    for (const [index, part] of parts.entries()) {
      const asked = await call(gateway, "POST", `${upload.upload_url}/${index + 1}`)
      const put = await call(gateway, "PUT", String(asked.json["upload_url"]), { body: part })
      const etag = put.headers["etag"]?.replaceAll('"', "")
      listed.push({ part_number: index + 1, etag })
    }
    expect((await complete(gateway, upload, listed)).status).toBe(200)
    expect((await read(gateway, upload.file_url)).body.equals(whole)).toBe(true)
  })

  it("is completed through the REST route as well, named by its URL", async () => {
    const gateway = await open()
    const upload = await initiate(gateway, { multipart: true })
    const listed = await putParts(gateway, upload, parts)
    const path = "/rest/storage/upload/complete-multipart?storage_type=fal-cdn-v3"
    const ask = (fields: object) =>
      gateway.call("POST", path, { headers: json, body: JSON.stringify(fields) })
    expect((await ask({ parts: listed })).status).toBe(400)
    expect((await ask({ upload_url: upload.file_url, parts: listed })).status).toBe(400)
    const forged = `${upload.file_url}/upload/1.x`
    expect((await ask({ upload_url: forged, parts: listed })).status).toBe(403)
    const done = await ask({ upload_url: upload.upload_url, parts: listed })
    expect([done.status, done.json["file_url"]]).toEqual([200, upload.file_url])
  })

  it("is told from one that comes as a whole, and numbers and methods that mean nothing are refused", async () => {
    const gateway = await open()
    const inParts = await initiate(gateway, { multipart: true })
    const asWhole = await initiate(gateway)
    expect((await call(gateway, "PUT", inParts.upload_url, { body: "x" })).status).toBe(400)
    expect((await call(gateway, "PUT", `${asWhole.upload_url}/1`, { body: "x" })).status).toBe(400)
    for (const number of ["0", "1001", "999999999"]) {
      const answer = await call(gateway, "PUT", `${inParts.upload_url}/${number}`, { body: "x" })
      expect(answer.json["detail"]).toBe("The number of a part is from 1 to 1000")
    }
    expect((await call(gateway, "GET", `${inParts.upload_url}/1`)).status).toBe(405)
    expect((await call(gateway, "POST", asWhole.upload_url)).status).toBe(405)
    expect((await call(gateway, "PUT", `${inParts.upload_url}/complete`)).status).toBe(405)
  })

  it("that nobody finishes goes with its bytes", async () => {
    let now = Date.now()
    const gateway = await open({ clock: () => now })
    const upload = await initiate(gateway, { multipart: true })
    const listed = await putParts(gateway, upload, parts)
    now += retention.uploadMs
    const pruned = await gateway.store.prune({ policy: retention, rowsMax: 100, budgetMs: 100 })
    expect([pruned.uploads, pruned.blobs.length]).toEqual([1, 3])
    expect((await complete(gateway, upload, listed)).status).toBe(403)
  })
})

describe("limits", () => {
  it("a file larger than fileBytesMax is 413, told before its body where it says its size", async () => {
    const gateway = await open({ limits: { fileBytesMax: 1_000 } })
    const detail = "The file is larger than 1000 bytes"
    const upload = await initiate(gateway)
    const told = await call(gateway, "PUT", upload.upload_url, { body: randomBytes(1_001) })
    expect([told.status, told.json["detail"]]).toEqual([413, detail])
    const headers = { "transfer-encoding": "chunked" }
    const counted = await call(gateway, "PUT", upload.upload_url, {
      headers,
      body: randomBytes(100_000),
    })
    expect([counted.status, counted.json["detail"]]).toEqual([413, detail])
    const fits = await call(gateway, "PUT", upload.upload_url, { body: randomBytes(1_000) })
    expect(fits.status).toBe(200)
    const inParts = await initiate(gateway, { multipart: true })
    await putParts(gateway, inParts, [randomBytes(600)])
    const more = await call(gateway, "PUT", `${inParts.upload_url}/2`, { body: randomBytes(401) })
    expect([more.status, more.json["detail"]]).toEqual([413, detail])
    expect((await blobs(gateway)).length).toBe(2)
  })

  it("an account stores no more than storageBytesMax: 413 by its own type, whichever way it comes", async () => {
    const gateway = await open({ limits: { storageBytesMax: 100_000 } })
    const [first, second] = [await initiate(gateway), await initiate(gateway)]
    const inParts = await initiate(gateway, { multipart: true })
    const body = randomBytes(60_000)
    expect((await call(gateway, "PUT", first.upload_url, { body })).status).toBe(200)
    const headers = { "transfer-encoding": "chunked" }
    for (const refused of [
      await call(gateway, "PUT", second.upload_url, { body }),
      await call(gateway, "PUT", second.upload_url, { headers, body }),
      await call(gateway, "PUT", `${inParts.upload_url}/1`, { body }),
      await gateway.call("POST", "/files/upload", { body }),
    ]) {
      expect([refused.status, refused.json["error_type"]]).toEqual([413, "storage_quota_exceeded"])
    }
    const rest = { body: randomBytes(40_000) }
    expect((await call(gateway, "PUT", `${inParts.upload_url}/1`, rest)).status).toBe(200)
    const full = await gateway.call("POST", "/rest/storage/upload/initiate", { body: "{}" })
    expect([full.status, full.json["error_type"]]).toEqual([413, "storage_quota_exceeded"])
    expect((await blobs(gateway)).length).toBe(2)
  })

  it("an account begins no more than uploadsMax: 429 until some are finished", async () => {
    const gateway = await open({ limits: { uploadsMax: 2 } })
    const upload = await initiate(gateway)
    await initiate(gateway, { multipart: true })
    const refused = await gateway.call("POST", "/rest/storage/upload/initiate", { body: "{}" })
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "1"])
    expect(refused.json["detail"]).toMatch(/2 unfinished uploads/)
    await call(gateway, "PUT", upload.upload_url, { body: "x" })
    await initiate(gateway)
  })

  it("a full disk is 429 with Retry-After, and leaves nothing", async () => {
    const gateway = await open({ store: { pagesMax: 90 } })
    const row = {
      name: "",
      account: "local",
      blobs: [{ name: "none", bytes: 1 }],
      bytes: 1,
      contentType: `x/${"y".repeat(3_000)}`,
      request: null,
      createdAt: 1,
      expiresAt: null,
      acl: null,
    }
    for (let number = 0, full = false; !full; number += 1) {
      full = await gateway.store.addFile({ ...row, name: `filler ${number}` }).then(
        () => false,
        () => true,
      )
    }
    // What is left may hold a few small rows.
    for (let stored = 0; ; stored += 1) {
      const answer = await gateway.call("POST", "/files/upload", { body: randomBytes(5_000) })
      if (answer.status === 200) continue
      expect([answer.status, answer.json["error_type"]]).toEqual([429, "storage_full"])
      expect(answer.headers["retry-after"]).toBe("5")
      expect((await blobs(gateway)).length).toBe(stored)
      return
    }
  })

  it("a body that ends early leaves nothing, and its URL can be used still", async () => {
    const gateway = await open()
    const upload = await initiate(gateway)
    const { pathname, host } = new URL(upload.upload_url)
    const socket = connect(gateway.port, "127.0.0.1")
    socket.write(`PUT ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 2147483648\r\n\r\n`)
    const refused = await new Promise<string>((resolve) =>
      socket.once("data", (data) => resolve(String(data))),
    )
    // 2 GiB is more than a file may have by default.
    expect(refused).toMatch(/^HTTP\/1.1 413 /)
    socket.destroy()
    const half = connect(gateway.port, "127.0.0.1")
    half.write(`PUT ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 1000000\r\n\r\n`)
    half.write(randomBytes(500_000))
    const logged = gateway.nextEntry()
    half.end()
    await logged
    expect(await blobs(gateway)).toEqual([])
    expect((await read(gateway, upload.file_url)).status).toBe(404)
    expect((await call(gateway, "PUT", upload.upload_url, { body: "x" })).status).toBe(200)
  })
})
