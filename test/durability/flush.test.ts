import { createHash } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Connections } from "../crash/connections.ts"
import { killProcessesOf } from "../crash/processes.ts"
import {
  makeDataFolder,
  removeDataFolder,
  startServerProcess,
  untilReady,
} from "../server-process.ts"
import { breaches, type TracedRequest, type TracedUpload, uploadBreaches } from "./flush-order.ts"
import { readTrace, straceCommand, type TracedCall } from "./trace.ts"
import { missingTool } from "./tools.ts"

const skip = missingTool("flush before answer", "strace", "-D", "-o", "/dev/null", "true")

describe.skipIf(skip !== null)("flush before answer, as strace sees it", () => {
  const requests: TracedRequest[] = []
  const uploads: TracedUpload[] = []
  let calls: TracedCall[] = []
  let data: string
  let folder: string

  beforeAll(async () => {
    data = await makeDataFolder()
    folder = await mkdtemp(join(tmpdir(), "tintype-trace-"))
    const output = join(folder, "trace")
    const server = await startServerProcess({ data, wrapper: straceCommand(output) })
    await untilReady(server.url, 30_000)
    const connections = new Connections(8)
    const sizes = [10, 20_000, 40_000, 200_000]
    const asked = sizes.flatMap((size, index) => [
      ask(connections, server.url, "queue", size, index),
      ask(connections, server.url, "run", size, index),
      ask(connections, server.url, "queue", size, index + sizes.length),
    ])
    requests.push(...(await Promise.all(asked)))
    for (const size of [10, 40_000, 900_000]) {
      uploads.push(await sendFile(connections, server.url, size))
      uploads.push(...(await sendParts(connections, server.url, size)))
    }
    connections.close()
    await server.kill("SIGTERM")
    calls = await readTrace(output)
  }, 60_000)

  afterAll(async () => {
    await killProcessesOf(data)
    await removeDataFolder(data)
    await rm(folder, { recursive: true, force: true })
  })

  it("flushes what a submit and an outcome promise before it answers, blobs included", () => {
    expect(requests).toHaveLength(12)
    expect(breaches(calls, requests)).toEqual([])
  })

  it("flushes the bytes of a file and of its parts before it acknowledges them", () => {
    expect(uploads).toHaveLength(9)
    expect(uploadBreaches(calls, uploads)).toEqual([])
  })

  it("would notice an upload that was not flushed (the trace without the flushes of the log, of blobs, of their folders)", () => {
    for (const isMissing of [
      isWal,
      isDraft,
      (call: TracedCall) => isBlobFlush(call) && !isDraft(call),
    ]) {
      const lazy = calls.filter((call) => !isFlush(call) || !isMissing(call))
      expect(uploadBreaches(lazy, uploads)).toHaveLength(uploads.length)
    }
    const early = calls.map((call) =>
      call.target.startsWith("TCP") ? { ...call, began: call.began - 1e9 } : call,
    )
    expect(uploadBreaches(early, uploads)).toHaveLength(uploads.length)
  })

  it("would notice a missing flush (the trace without the flushes of the log)", () => {
    const lazy = calls.filter((call) => !isFlush(call) || !call.target.endsWith("-wal"))
    const promises = requests.map(({ door }) => (door === "queue" ? 2 : 1))
    const count = promises.reduce((sum, one) => sum + one, 0)
    expect(breaches(lazy, requests)).toHaveLength(count)
  })

  it("would notice a missing flush (the trace without the flushes of blobs, or of their folders)", () => {
    const isNamed = (call: TracedCall) =>
      calls.some(
        (other) => /rename|link/.test(other.name) && other.text.includes(`${call.target}"`),
      )
    const withoutFiles = calls.filter((call) => !(isBlobFlush(call) && isNamed(call)))
    const withoutFolders = calls.filter((call) => !(isBlobFlush(call) && !isNamed(call)))
    const blobs = requests.filter(({ isBlob }) => isBlob)
    const expected = blobs.flatMap(({ id, door }) =>
      door === "queue" ? [`submit ${id}`, `outcome ${id}`] : [`outcome ${id}`],
    )
    for (const lazy of [withoutFiles, withoutFolders]) {
      const found = breaches(lazy, requests).map((sentence) => sentence.split(":")[0])
      expect(found).toEqual(expected)
    }
  })

  it("would notice an answer that came too early (the trace with answers moved to its beginning)", () => {
    const early = calls.map((call) =>
      call.target.startsWith("TCP") ? { ...call, began: call.began - 1e9 } : call,
    )
    expect(breaches(early, requests).length).toBeGreaterThanOrEqual(requests.length)
  })
})

/** One echo through a door, to its result. */
async function ask(
  connections: Connections,
  url: string,
  door: "queue" | "run",
  size: number,
  index: number,
): Promise<TracedRequest> {
  const marker = `marker-${door}-${size}-${index}.`
  const body = Buffer.from(`{"marker": "${marker}", "padding": "${"x".repeat(size)}"}`)
  const request = { marker, isBlob: body.byteLength > 32 * 1_024, door }
  const reply = await connections.call("POST", `${url}/${door}/tintype/echo`, body)
  expect(reply.status).toBe(200)
  if (door === "run") {
    expect(reply.body.equals(body)).toBe(true)
    return { ...request, id: String(reply.headers["x-fal-request-id"]) }
  }
  const { request_id: id } = JSON.parse(reply.body.toString()) as { request_id: string }
  const resultUrl = `${url}/queue/tintype/echo/requests/${id}`
  const result = await connections.call("GET", resultUrl, undefined, { prefer: "wait=30" })
  expect(result.status).toBe(200)
  expect(result.body.equals(body)).toBe(true)
  return { ...request, id }
}

let sent = 0

/** Bytes that nothing else has. */
function markedBytes(size: number): { marker: string; body: Buffer } {
  sent += 1
  const marker = `file-marker-${sent}.`
  return { marker, body: Buffer.from(marker + "x".repeat(size)) }
}

/** A file as a whole; acknowledged by its URL, which no one was told before. */
async function sendFile(
  connections: Connections,
  url: string,
  size: number,
): Promise<TracedUpload> {
  const { marker, body } = markedBytes(size)
  const reply = await connections.call("POST", `${url}/files/upload`, body)
  const { access_url: file } = JSON.parse(reply.body.toString()) as { access_url: string }
  return { marker, acknowledgement: file }
}

/** Two parts of a file; each is acknowledged by the hash of its bytes. */
async function sendParts(
  connections: Connections,
  url: string,
  size: number,
): Promise<TracedUpload[]> {
  const begun = await connections.call("POST", `${url}/files/upload/multipart`, Buffer.alloc(0))
  const { access_url: file, uploadId } = JSON.parse(begun.body.toString()) as Record<string, string>
  const made: TracedUpload[] = []
  for (const number of [1, 2]) {
    const { marker, body } = markedBytes(size)
    const reply = await connections.call("PUT", `${file}/multipart/${uploadId}/${number}`, body)
    expect(reply.status).toBe(200)
    const acknowledgement = createHash("sha256").update(body).digest("hex")
    made.push({ marker, acknowledgement })
  }
  return made
}

function isWal({ target }: TracedCall): boolean {
  return target.endsWith("-wal")
}

function isDraft({ target }: TracedCall): boolean {
  return target.includes("/incoming/")
}

function isFlush({ name }: TracedCall): boolean {
  return name === "fsync" || name === "fdatasync"
}

function isBlobFlush(call: TracedCall): boolean {
  return isFlush(call) && !/tintype\.sqlite/.test(call.target)
}
