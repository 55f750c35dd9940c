import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { isModelError } from "@tintype/app"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createChannelContext } from "./channel-context.ts"

let server: Server
let origin: string
let asked: string[] = []

beforeEach(async () => {
  asked = []
  server = createServer((request, response) => {
    asked.push(request.url ?? "")
    response.setHeader("content-type", "image/png").end("picture")
  })
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterEach(() => server.close())

function fetchMedia(url: string, { allowPrivateTargets = false, ownOrigins = [origin] } = {}) {
  const open = {
    type: "open",
    channel: "c",
    app: "a/b",
    endpoint: "a/b",
    path: "/",
    headers: {},
    fileBase: "https://v3b.fal.media/files",
    exclusive: false,
    timeoutMs: 1_000,
  } as const
  const { signal } = new AbortController()
  return createChannelContext(open, signal, { ownOrigins, allowPrivateTargets }).fetchMedia(url)
}

test.each(["/files/b/12 34/pic.png", "https://v3b.fal.media/files/b/12 34/pic.png"])(
  "reads the server's own files from the server, whatever their address says [%s]",
  async (url) => {
    const { bytes, contentType } = await fetchMedia(new URL(url, origin).href)
    expect(Buffer.from(bytes).toString()).toBe("picture")
    expect(contentType).toBe("image/png")
    expect(asked).toEqual(["/files/b/12%2034/pic.png"])
  },
)

test.each([
  "/files/%2e%2e%2f_/keys",
  "/files/b/..%2f..%2f_%2fkeys",
  "/files//x",
  "/files/b%2f.%2fx",
])("reads nothing but files there [%s]", async (path) => {
  const error: unknown = await fetchMedia(origin + path).catch((thrown: unknown) => thrown)
  expect(isModelError(error)).toBe(true)
  expect(asked).toEqual([])
})

test("reads no other private address", async () => {
  await expect(fetchMedia(`${origin}/elsewhere.png`)).rejects.toThrow("Failed to download")
  const told = fetchMedia(`${origin}/files/x`, { ownOrigins: [] })
  await expect(told).rejects.toThrow("Failed to download")
  expect(asked).toEqual([])
})
