import { createHash, randomBytes } from "node:crypto"
import { type IncomingMessage, request } from "node:http"
import { connect, type Socket } from "node:net"
import { json } from "node:stream/consumers"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { blobPaths } from "../files/blob-paths.ts"
import { until } from "../crash/probe-calls.ts"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const mebibyte = 1024 * 1024
const painted = { prompt: "a lighthouse at dusk", num_inference_steps: 10, seed: 1 }

interface Pictures {
  images: { url: string; width: number; height: number }[]
}

describe("files through the official JavaScript client, unmodified", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess()
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  /** Uploads the bytes; what is read back, by its hash. */
  async function roundTrip(
    content: Buffer,
    type = "application/octet-stream",
  ): Promise<{ answer: Response; sha256: string }> {
    const { fal } = officialClient(server.url)
    const url = await fal.storage.upload(new Blob([new Uint8Array(content)], { type }))
    const answer = await fetch(url)
    const hash = createHash("sha256")
    for await (const chunk of answer.body ?? []) hash.update(chunk as Uint8Array)
    return { answer, sha256: hash.digest("hex") }
  }

  it.each([0, 1, 5 * mebibyte])("uploads %d bytes at once", async (bytes) => {
    const content = randomBytes(bytes)
    const { answer, sha256 } = await roundTrip(content, "image/png")
    expect([answer.status, sha256]).toEqual([200, hashOf(content)])
    expect(answer.headers.get("content-length")).toBe(String(bytes))
    expect(answer.headers.get("content-type")).toBe("image/png")
    expect(answer.url).toMatch(/\/files\/b\/[0-9a-f]{8}\/[\w-]{22}_\d+\.png$/)
  })

  it.each([90 * mebibyte - 1, 90 * mebibyte, 90 * mebibyte + 1])(
    "uploads %d bytes, at once up to its limit and in parts beyond it",
    async (bytes) => {
      const content = randomBytes(bytes)
      const { answer, sha256 } = await roundTrip(content)
      expect([answer.status, sha256]).toEqual([200, hashOf(content)])
    },
    60_000,
  )

  it("uploads what it finds in an input, and the app reads it", async () => {
    const { fal } = officialClient(server.url)
    const picture = new Blob([await makePicture(320, 240)], { type: "image/png" })
    const result = await fal.run("fal-ai/flux/dev/image-to-image", {
      input: { ...painted, image_url: picture },
    })
    expect((result.data as Pictures).images[0]).toMatchObject({ width: 320, height: 240 })
  })

  it("keeps a file to its owner and for its time, as the client asks", async () => {
    const { fal } = officialClient(server.url)
    const url = await fal.storage.upload(new Blob(["secret"]), {
      lifecycle: { expiresIn: "1h", initialAcl: { default: "hide", rules: [] } },
    })
    // Without a key everybody is the owner; the page of another site is not.
    expect((await fetch(url)).status).toBe(200)
    const elsewhere = await fetch(url, { headers: { "sec-fetch-site": "cross-site" } })
    expect(elsewhere.status).toBe(404)
  })

  it("has an app read a file that came in parts", async () => {
    const picture = await makePicture(640, 480)
    const url = await sendInParts(server.url, picture, Math.ceil(picture.length / 3))
    const { fal } = officialClient(server.url)
    const result = await fal.run("fal-ai/flux/dev/image-to-image", {
      input: { ...painted, image_url: url },
    })
    expect((result.data as Pictures).images[0]).toMatchObject({ width: 640, height: 480 })
  })

  it("is none of an upload whose sender goes away in the middle", async () => {
    const { upload_url: uploadUrl, file_url: url } = await initiate(server.url, "initiate")
    const before = await blobPaths(server.data)
    const socket = await sendBeginning(uploadUrl, 512, 64)
    expect(await blobPaths(server.data)).not.toEqual(before)
    socket.destroy()
    await until("nothing is left", async () => isSame(await blobPaths(server.data), before))
    expect((await fetch(url)).status).toBe(404)
    expect((await fetch(uploadUrl, { method: "PUT", body: "whole" })).status).toBe(200)
    expect(await (await fetch(url)).text()).toBe("whole")
  })
})

it("a file may be larger than an input, also of a program that waits to be told to go on", async () => {
  const server = await startServerProcess()
  for (const bytes of [100 * mebibyte - 1, 100 * mebibyte, 100 * mebibyte + 1]) {
    const content = Buffer.alloc(bytes, `${bytes} `)
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const headers = { expect: "100-continue", "content-length": bytes }
    const sending = request(`${server.url}/files/upload`, { method: "POST", headers }, resolve)
    sending.once("error", reject).once("continue", () => sending.end(content))
    sending.flushHeaders()
    const stored = (await json(await promise)) as { access_url: string }
    const { length } = Buffer.from(await (await fetch(stored.access_url)).arrayBuffer())
    expect(length).toBe(bytes)
  }
  await server.kill("SIGTERM")
  await removeDataFolder(server.data)
}, 60_000)

it("an upload goes on in the next life of a server that was killed in the middle of it", async () => {
  const first = await startServerProcess()
  const upload = await initiate(first.url, "initiate-multipart")
  const parts = [await putPart(`${upload.upload_url}/1`, "one, ")]
  const socket = await sendBeginning(`${upload.upload_url}/2`, 512, 1)
  await until("its draft", async () => (await blobPaths(first.data)).length > 1)
  await first.kill("SIGKILL")
  socket.destroy()

  const second = await startServerProcess({ data: first.data })
  const [from, to] = [new URL(first.url).host, new URL(second.url).host]
  const url = upload.upload_url.replace(from, to)
  expect(await blobPaths(second.data)).toHaveLength(1)
  parts.push(await putPart(`${url}/2`, "two"))
  const done = await fetch(`${url}/complete`, { method: "POST", body: JSON.stringify({ parts }) })
  expect(done.status).toBe(200)
  const answer = await fetch(upload.file_url.replace(from, to))
  expect(await answer.text()).toBe("one, two")
  await second.kill("SIGTERM")
  await removeDataFolder(second.data)
})

function hashOf(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex")
}

/** Noise, so that it has many bytes. */
async function makePicture(width: number, height: number): Promise<Buffer> {
  const raw = { width, height, channels: 3 } as const
  return await sharp(randomBytes(width * height * 3), { raw })
    .png()
    .toBuffer()
}

async function initiate(
  base: string,
  route: "initiate" | "initiate-multipart",
): Promise<{ upload_url: string; file_url: string }> {
  const answer = await fetch(`${base}/rest/storage/upload/${route}?storage_type=fal-cdn-v3`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ content_type: "image/png", file_name: "noise.png" }),
  })
  return (await answer.json()) as { upload_url: string; file_url: string }
}

/** Sends some of the mebibytes that it promises, and waits until they are on their way. */
async function sendBeginning(url: string, promised: number, sent: number): Promise<Socket> {
  const { host, pathname, port } = new URL(url)
  const socket = connect(Number(port), "127.0.0.1")
  // The server may be killed under it.
  socket.on("error", () => {})
  const length = promised * mebibyte
  socket.write(`PUT ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-length: ${length}\r\n\r\n`)
  const megabyte = randomBytes(mebibyte)
  for (let index = 0; index < sent; index += 1) {
    await new Promise<void>((taken) => socket.write(megabyte, () => taken()))
  }
  return socket
}

async function putPart(url: string, body: string | Uint8Array<ArrayBuffer>): Promise<unknown> {
  const answer = await fetch(url, { method: "PUT", body })
  expect(answer.status).toBe(200)
  return await answer.json()
}

async function sendInParts(base: string, content: Buffer, partBytes: number): Promise<string> {
  const { upload_url: uploadUrl, file_url: url } = await initiate(base, "initiate-multipart")
  const parts = []
  for (let start = 0; start < content.length; start += partBytes) {
    const part = content.subarray(start, start + partBytes)
    parts.push(await putPart(`${uploadUrl}/${parts.length + 1}`, new Uint8Array(part)))
  }
  expect(parts.length).toBeGreaterThan(1)
  const done = await fetch(`${uploadUrl}/complete`, {
    method: "POST",
    body: JSON.stringify({ parts }),
  })
  expect(done.status).toBe(200)
  return url
}

function isSame(one: string[], other: string[]): boolean {
  return one.join() === other.join()
}
