import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import {
  makeDataFolder,
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"

let server: ServerProcess

beforeAll(async () => {
  const retention = { pruneEveryMs: 100, requestMs: 9_000 }
  server = await startServerProcess({ data: await makeDataFolder(), config: { retention } })
  await untilReady(server.url)
}, 60_000)

afterAll(async () => {
  await server.kill("SIGTERM")
  await removeDataFolder(server.data)
})

/** Blobs on the disk. */
async function countBlobs(): Promise<number> {
  const found = await readdir(join(server.data, "blobs"), { recursive: true, withFileTypes: true })
  return found.filter((entry) => entry.isFile()).length
}

const pruned = (part: string) =>
  server.logged((entry) => entry["event"] === "pruned" && Number(entry[part]) > 0)

test("a request that is not to be kept leaves its input, then its picture, then nothing at all", async () => {
  const called = await fetch(`${server.url}/run/fal-ai/flux/schnell`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-fal-store-io": "0",
      "x-fal-object-lifecycle-preference": '{"expiration_duration_seconds": 6}',
    },
    body: JSON.stringify({ prompt: "a cat", note: "x".repeat(50_000) }),
  })
  const output = (await called.json()) as { images: { url: string }[] }
  const picture = output.images[0]?.url ?? ""
  const id = called.headers.get("x-fal-request-id")
  const url = `${server.url}/queue/fal-ai/flux/requests/${id}`
  const shown = await fetch(picture)
  expect([shown.status, shown.headers.get("content-type")]).toEqual([200, "image/jpeg"])
  expect(shown.headers.get("cache-control")).toMatch(/^public, max-age=[0-6], immutable$/)
  await shown.arrayBuffer()
  expect(await pruned("inputs")).toMatchObject({ inputs: 1, results: 0, blobs: 1 })
  expect((await fetch(`${url}/status`)).status).toBe(200)
  expect((await fetch(url)).status).toBe(200)
  expect(await pruned("files")).toMatchObject({ files: 1, blobs: 1 })
  expect((await fetch(picture)).status).toBe(404)
  expect(await pruned("requests")).toMatchObject({ requests: 1 })
  const forgotten = await fetch(url)
  expect([forgotten.status, await forgotten.json()]).toEqual([
    404,
    { detail: "Request not found", status: "NOT_FOUND" },
  ])
  expect(await countBlobs()).toBe(0)
}, 60_000)
