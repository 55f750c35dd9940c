import { ValidationError } from "@fal-ai/client"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { resolve } from "node:path"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const inputBytesMax = 2_000_000

describe("a caller's mistake, made with the official client", () => {
  let server: ServerProcess
  let media: Server
  let mediaUrl: string

  beforeAll(async () => {
    server = await startServerProcess({
      args: ["--apps", resolve(import.meta.dirname, "../apps/probe.ts")],
      config: { limits: { bodyBytesMax: inputBytesMax } },
    })
    await untilReady(server.url)
    const huge = await sharp({
      create: { width: 9000, height: 9000, channels: 3, background: "red" },
    })
      .png()
      .toBuffer()
    media = createServer((request, response) => {
      if (request.url === "/huge.png") response.setHeader("content-type", "image/png").end(huge)
      else if (request.url === "/text.png") response.end("this is no picture")
      else response.writeHead(404).end()
    })
    await new Promise<void>((listening) => media.listen(0, "127.0.0.1", listening))
    mediaUrl = `http://127.0.0.1:${(media.address() as AddressInfo).port}`
  })

  afterAll(async () => {
    media.close()
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it("a body too large is 413, on both doors, and repeated by nobody", async () => {
    const { fal, calls } = officialClient(server.url)
    const input = { filler: "x".repeat(inputBytesMax) }
    const wanted = { status: 413, body: { error_type: "bad_request" } }
    expect(await caught(fal.queue.submit("tintype/echo", { input }))).toMatchObject(wanted)
    expect(await caught(fal.run("tintype/echo", { input }))).toMatchObject(wanted)
    expect(calls).toHaveLength(2)
  })

  it("a method that a door does not take is 405 and names those it takes", async () => {
    const { fal } = officialClient(server.url)
    const error = await caught(fal.run("tintype/echo", { input: {}, method: "get" }))
    expect(error).toMatchObject({ status: 405 })
  })

  it("an unknown app is 404 with the nearest that is served", async () => {
    const { fal } = officialClient(server.url)
    const error = await caught(fal.run("fal-ai/fast-sdxxl", { input: {} }))
    expect(error).toMatchObject({
      status: 404,
      body: { detail: 'Application "fal-ai/fast-sdxxl" not found', nearest: "fal-ai/fast-sdxl" },
    })
  })

  it("an unknown path of a known app is accepted, and its result is 404", async () => {
    const { fal, calls } = officialClient(server.url)
    const error = await caught(fal.subscribe("tintype/echo/nope", { input: {}, pollInterval: 20 }))
    expect(error).toMatchObject({ status: 404, body: { detail: "Path /nope not found" } })
    expect(calls[0]).toMatchObject({ method: "POST", status: 200 })
  })

  it("a result asked for too early is 400", async () => {
    const { fal } = officialClient(server.url)
    const { request_id: requestId } = await fal.queue.submit("test/probe", {
      input: { duration_ms: 60_000 },
    })
    const error = await caught(fal.queue.result("test/probe", { requestId }))
    expect(error).toMatchObject({ status: 400, body: { detail: "Request is still in progress" } })
    await fal.queue.cancel("test/probe", { requestId })
  })

  it.each([
    ["unreachable", "/nothing.png", "file_download_error"],
    ["not a picture", "/text.png", "image_load_error"],
    ["too large", "/huge.png", "image_too_large"],
  ])("an image_url that is %s is 422 at its field", async (_, path, type) => {
    const { fal } = officialClient(server.url)
    const input = { prompt: "x", image_url: `${mediaUrl}${path}` }
    const error = await caught(
      fal.subscribe("fal-ai/flux/dev/image-to-image", { input, pollInterval: 20 }),
    )
    expect(error).toBeInstanceOf(ValidationError)
    expect((error as ValidationError).body.detail).toMatchObject([
      { type, loc: ["body", "image_url"] },
    ])
  })

  it("a picture larger than pixelsMax is 422, not an exhausted machine", async () => {
    const { fal } = officialClient(server.url)
    const input = { prompt: "x", image_size: { width: 14_142, height: 14_142 } }
    const error = await caught(fal.run("fal-ai/flux/dev", { input }))
    expect(error).toMatchObject({ status: 422 })
    expect((error as ValidationError).body.detail).toMatchObject([{ type: "image_too_large" }])
  })
})

async function caught(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => {
      throw new Error(`expected a rejection, got ${JSON.stringify(value)}`)
    },
    (error: unknown) => error,
  )
}
