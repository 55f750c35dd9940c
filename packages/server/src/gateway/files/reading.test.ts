import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { FileAccess } from "../../domain/files/object-lifecycle.ts"
import { fileName } from "./paths.ts"
import { chunked, type HttpCall, openTestGateway, type TestGateway } from "../gateway.suite.ts"

let gateway: TestGateway
const content = Buffer.from(Array.from({ length: 1_000 }, (_, index) => index % 251))

async function addFile(
  name: string,
  contentType: string,
  bytes = content,
  access: Partial<FileAccess> = {},
): Promise<void> {
  const blob = await gateway.parts.blobs.write(chunked(bytes))
  await gateway.store.addFile({
    name,
    account: "local",
    blobs: [blob],
    bytes: bytes.length,
    contentType,
    request: null,
    createdAt: 1,
    expiresAt: null,
    acl: null,
    ...access,
  })
}

beforeAll(async () => {
  gateway = await openTestGateway()
  await addFile("a.png", "image/png")
  await addFile("page.html", "text/html")
  await addFile("empty.bin", "application/octet-stream", Buffer.alloc(0))
})
afterAll(async () => {
  await gateway.close()
})

const get = (path: string, headers: HttpCall["headers"] = {}) =>
  gateway.call("GET", path, { headers })

describe("a file", () => {
  it("is answered with what browsers and caches need", async () => {
    const answer = await get("/files/a.png")
    expect(answer.status).toBe(200)
    expect(answer.body.equals(content)).toBe(true)
    expect(answer.headers).toMatchObject({
      "content-type": "image/png",
      "content-length": "1000",
      "content-disposition": "inline",
      "content-security-policy": "sandbox; default-src 'none'",
      "x-content-type-options": "nosniff",
      "cache-control": "public, max-age=5184000, immutable",
      "access-control-allow-origin": "*",
      "accept-ranges": "bytes",
    })
    expect(answer.headers["etag"]).toMatch(/^"[^"]+"$/)
  })

  it("is named by everything that follows /files/", async () => {
    await addFile("b/0123abcd/x.png", "image/png")
    expect((await get("/files/b/0123abcd/x.png")).status).toBe(200)
    expect((await get("/files/x.png")).status).toBe(404)
    expect(fileName("/files/b/0123abcd/x%20y.png")).toBe("b/0123abcd/x y.png")
    expect(fileName("/files/%E0%A4%A")).toBeNull()
    expect(fileName("/files/")).toBeNull()
  })

  it.each([
    ["image/png", "inline"],
    ["image/jpeg", "inline"],
    ["image/webp", "inline"],
    ["image/gif", "inline"],
    ["image/avif", "inline"],
    ["video/mp4", "inline"],
    ["video/webm", "inline"],
    ["audio/mpeg", "inline"],
    ["audio/wav", "inline"],
    ["audio/ogg", "inline"],
    ["IMAGE/PNG; x=y", "inline"],
    ["image/svg+xml", "attachment"],
    ["text/html", "attachment"],
    ["application/pdf", "attachment"],
    ["application/octet-stream", "attachment"],
    ["", "attachment"],
  ])("of the type %s is shown as %s", async (type, disposition) => {
    const name = `typed-${type.replaceAll(/\W/g, "-")}`
    await addFile(name, type)
    expect((await get(`/files/${name}`)).headers["content-disposition"]).toBe(disposition)
  })

  it("with a type that no header can carry is bytes", async () => {
    await addFile("bad-type", "text/html\r\nx-a: b")
    const { headers } = await get("/files/bad-type")
    expect(headers["content-type"]).toBe("application/octet-stream")
    expect(headers).not.toHaveProperty("x-a")
  })

  it("is 304 for a caller that has it", async () => {
    const { etag = "" } = (await get("/files/a.png")).headers
    for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
      const answer = await get("/files/a.png", { "if-none-match": tag })
      expect([tag, answer.status, answer.body.length]).toEqual([tag, 304, 0])
      expect(answer.headers["etag"]).toBe(etag)
    }
    expect((await get("/files/a.png", { "if-none-match": '"x"' })).status).toBe(200)
  })

  it("that is unknown is 404", async () => {
    const answer = await get("/files/nope.png")
    expect([answer.status, answer.json]).toEqual([404, { detail: "File not found" }])
  })

  it("is read with GET and HEAD alone", async () => {
    const head = await gateway.call("HEAD", "/files/a.png")
    expect([head.status, head.headers["content-length"], head.body.length]).toEqual([
      200,
      "1000",
      0,
    ])
    for (const method of ["DELETE", "POST", "PUT", "PATCH"]) {
      const refused = await gateway.call(method, "/files/a.png")
      expect([refused.status, refused.headers["allow"]]).toEqual([405, "GET, HEAD"])
    }
  })
})

describe("a range", () => {
  it.each([
    ["bytes=0-9", 0, 9],
    ["bytes=990-", 990, 999],
    ["bytes=-10", 990, 999],
    ["bytes=-5000", 0, 999],
    ["bytes=500-5000", 500, 999],
    ["bytes=0-0", 0, 0],
  ])("%s is bytes %d to %d", async (range, start, end) => {
    const answer = await get("/files/a.png", { range })
    expect(answer.status).toBe(206)
    expect(answer.headers["content-range"]).toBe(`bytes ${start}-${end}/1000`)
    expect(answer.headers["content-length"]).toBe(String(end - start + 1))
    expect(answer.body.equals(content.subarray(start, end + 1))).toBe(true)
  })

  it.each(["bytes=1000-", "bytes=5000-6000", "bytes=-0"])("%s is 416", async (range) => {
    const answer = await get("/files/a.png", { range })
    expect([answer.status, answer.headers["content-range"]]).toEqual([416, "bytes */1000"])
    expect(answer.json["detail"]).toBeDefined()
  })

  it.each(["bytes=0-1,3-4", "bytes=9-5", "items=0-1", "bytes=-", "nonsense"])(
    "%s is the whole file",
    async (range) => {
      const answer = await get("/files/a.png", { range })
      expect([answer.status, answer.body.length]).toEqual([200, 1_000])
    },
  )

  it("counts only while the file is the one that If-Range names", async () => {
    const { etag = "" } = (await get("/files/a.png")).headers
    const same = await get("/files/a.png", { range: "bytes=0-1", "if-range": etag })
    const other = await get("/files/a.png", { range: "bytes=0-1", "if-range": '"x"' })
    expect([same.status, other.status]).toEqual([206, 200])
  })

  it("of an empty file lies outside", async () => {
    expect((await get("/files/empty.bin")).body.length).toBe(0)
    expect((await get("/files/empty.bin", { range: "bytes=0-0" })).status).toBe(416)
  })
})
