import { createHash, type Hash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { request } from "node:http"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { afterEach, describe, expect, it } from "vitest"
import { blobPaths } from "./blob-paths.ts"
import { until } from "../crash/probe-calls.ts"
import {
  makeDataFolder,
  removeDataFolder,
  startServerProcess,
  type ServerProcess,
} from "../server-process.ts"

/** A gibibyte in and out of a server in its own process, whose memory is read where the kernel keeps its peak. */

const mebibyte = 1024 * 1024
const fileBytes = 1024 * mebibyte
const memoryBytesMax = 250 * 1_000_000

let server: ServerProcess | null = null

afterEach(async () => {
  await server?.kill("SIGTERM")
  if (server !== null) await removeDataFolder(server.data)
  server = null
})

async function start(config: object = {}): Promise<ServerProcess> {
  server = await startServerProcess({ data: await makeDataFolder(), config })
  console.log(`at its start: ${Math.round((await peakBytes(server)) / 1e6)} MB`)
  return server
}

/** Bytes that no one keeps: each mebibyte is its number, hashed on its way when a hash is given. */
function* numbered(first: number, count: number, hash?: Hash): Generator<Buffer> {
  for (let number = first; number < first + count; number += 1) {
    const piece = Buffer.alloc(mebibyte, `${number}.`)
    hash?.update(piece)
    yield piece
  }
}

function* dying(): Generator<Buffer> {
  yield* numbered(0, 1024)
  throw new Error("the sender died")
}

/** Sends what `pieces` yields; answers the JSON of the answer. */
async function send(
  method: string,
  url: string,
  pieces: Iterable<Buffer>,
  bytes: number,
): Promise<Record<string, string>> {
  const { promise, resolve, reject } = Promise.withResolvers<Record<string, string>>()
  const outgoing = request(url, { method, headers: { "content-length": bytes } }, (answer) => {
    const chunks: Buffer[] = []
    answer.on("data", (chunk: Buffer) => chunks.push(chunk))
    answer.once("end", () => {
      const text = Buffer.concat(chunks).toString()
      if (answer.statusCode === 200) resolve(JSON.parse(text) as Record<string, string>)
      else reject(new Error(`${answer.statusCode} ${text}`))
    })
  })
  outgoing.once("error", reject)
  const [answer] = await Promise.all([promise, pipeline(Readable.from(pieces), outgoing)])
  return answer
}

async function readHash(url: string): Promise<string> {
  const hash = createHash("sha256")
  const answer = await fetch(url)
  for await (const chunk of answer.body ?? []) hash.update(chunk as Uint8Array)
  return hash.digest("hex")
}

/** The most memory that the process ever had. */
async function peakBytes({ child }: ServerProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, "utf8")
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1_024
}

async function report(title: string, from: ServerProcess, startedAt: number): Promise<void> {
  const [peak, seconds] = [await peakBytes(from), (performance.now() - startedAt) / 1_000]
  const rate = Math.round(fileBytes / mebibyte / seconds)
  console.log(`${title}: ${rate} MiB/s, peak memory ${Math.round(peak / 1e6)} MB`)
  expect(peak).toBeLessThan(memoryBytesMax)
}

describe("a gibibyte", () => {
  it("goes up as a whole and down again in bounded memory, byte for byte", async () => {
    const running = await start()
    const hash = createHash("sha256")
    let startedAt = performance.now()
    const pieces = numbered(0, 1024, hash)
    const { access_url: url = "" } = await send(
      "POST",
      `${running.url}/files/upload`,
      pieces,
      fileBytes,
    )
    await report("up as a whole", running, startedAt)
    startedAt = performance.now()
    expect(await readHash(url)).toBe(hash.digest("hex"))
    await report("down", running, startedAt)
  })

  it("goes up in parts, ten at a time, and down again", async () => {
    const running = await start()
    let startedAt = performance.now()
    const begun = await send("POST", `${running.url}/files/upload/multipart`, [], 0)
    const { access_url: url = "", uploadId } = begun
    const parts: Record<string, string>[] = []
    const numbers = Array.from({ length: 103 }, (_, index) => index + 1).values()
    const sender = async () => {
      for (const number of numbers) {
        const first = (number - 1) * 10
        const count = Math.min(10, 1024 - first)
        const path = `${url}/multipart/${uploadId}/${number}`
        parts.push(await send("PUT", path, numbered(first, count), count * mebibyte))
      }
    }
    await Promise.all(Array.from({ length: 10 }, sender))
    const list = Buffer.from(JSON.stringify({ parts }))
    await send("POST", `${url}/multipart/${uploadId}/complete`, [list], list.length)
    await report("up in parts", running, startedAt)
    const hash = createHash("sha256")
    for (const _ of numbered(0, 1024, hash)) continue
    startedAt = performance.now()
    expect(await readHash(url)).toBe(hash.digest("hex"))
    await report("down from parts", running, startedAt)
  })

  it("of two, dies in the middle and leaves nothing", async () => {
    const running = await start({ limits: { fileBytesMax: 4 * fileBytes } })
    const sent = send("POST", `${running.url}/files/upload`, dying(), 2 * fileBytes)
    await expect(sent).rejects.toBeInstanceOf(Error)
    await until("nothing is left", async () => (await blobPaths(running.data)).length === 0)
    expect(await peakBytes(running)).toBeLessThan(memoryBytesMax)
  })
})
