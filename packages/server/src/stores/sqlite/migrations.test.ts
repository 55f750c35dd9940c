import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, beforeAll, expect, test } from "vitest"
import { bytes, newHello, newLease, newRequest } from "../store.suite.ts"
import { schemaVersion } from "./migrations.ts"
import { openSqliteStore } from "./sqlite-store.ts"

let folder = ""
let made = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-migrations-"))
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

/** A database of a build of that schema, with rows in every table. */
async function makeDatabase(schema: number): Promise<string> {
  made += 1
  const path = join(folder, `${made}.db`)
  const dump = new URL(`./fixtures/schema-${schema}.sql`, import.meta.url)
  const db = new DatabaseSync(path)
  db.exec(await readFile(dump, "utf8"))
  db.close()
  return path
}

function open(path: string) {
  return openSqliteStore({
    path,
    limits: { batchOperationsMax: 1_000, batchBytesMax: 1e6, concurrencyMax: 0 },
    onCommit: () => {},
    onFreed: () => {},
    onFatal: (error) => {
      throw error
    },
  })
}

const id = (number: number) => `00000000-0000-4000-8000-00000000000${number}`

function shape(path: string): unknown[] {
  const db = new DatabaseSync(path, { readOnly: true })
  const rows = db.prepare("SELECT type, name FROM sqlite_schema ORDER BY type, name").all()
  const version = db.prepare("PRAGMA user_version").get()
  db.close()
  return [version, ...rows]
}

test("a database of schema 1 becomes current, with all that is in it", async () => {
  const path = await makeDatabase(1)
  const store = await open(path)
  expect(await store.request(id(1))).toMatchObject({
    sequence: 1,
    state: "succeeded",
    attempts: 1,
    webhook: null,
    outcome: { status: 200, inferenceMs: 12 },
  })
  expect(await store.body(1, "output")).toEqual({ inline: bytes('{"ok":true}') })
  expect(await store.events(1)).toHaveLength(1)
  expect(await store.request(id(2))).toMatchObject({
    state: "running",
    attempt: { lease: "lease-2" },
  })
  expect(await store.positions([6, 3, 5, 4].map(id))).toEqual([0, 1, 2, 3])
  expect(await store.body(4, "input")).toEqual({ blob: "in", bytes: 70_000 })
  expect(await store.app("acme/painter")).toMatchObject({ revision: 1 })
  expect(await store.file("b/0000/cat.png")).toMatchObject({ blobs: [{ name: "file", bytes: 3 }] })
  expect(await store.unreferencedBlobs(["in", "file", "other"])).toEqual(["other"])
  expect((await store.openSession(newHello("s0"))).expired).toBe(true)
  // Of attempts that had ended, that build kept no start; of the running one, not when its session began.
  expect(await store.attempts(1)).toEqual([])
  const runner = { pid: 1, build: "b", openedAt: null }
  expect(await store.attempts(2)).toMatchObject([{ number: 1, session: "s1", runner }])
  const { requests } = await store.requests({ account: "local", limit: 2 })
  expect(requests.map(({ sequence }) => sequence)).toEqual([6, 4])
  await store.close()
})

test("what waits in a database of schema 1 is still worked off, in its order, and new requests after it", async () => {
  const store = await open(await makeDatabase(1))
  expect(await store.recover()).toEqual({ ended: 1 })
  const resumed = await store.openSession(newHello("s1"))
  expect(resumed.reassign.map(({ request }) => request.id)).toEqual([id(2)])
  const last = await store.submit(
    newRequest({ priority: "low", webhook: "https://example.com/hook" }),
  )
  expect(last.sequence).toBe(7)
  const leases = Array.from({ length: 9 }, newLease)
  const claims = await store.claim({ session: "s1", apps: ["acme/painter"], leases })
  expect(claims.map(({ request }) => request.id)).toEqual([id(3), id(5), id(4), last.id])
  await store.settle({
    lease: claims.at(-1)?.request.attempt?.lease ?? "",
    session: "s1",
    result: { kind: "failed", reason: "exception", detail: "boom", inferenceMs: 1 },
  })
  expect(await store.delivery(last.id)).toMatchObject({ delivery: { state: "pending" } })
  await store.close()
})

test("what ended in a database of schema 4 is pruned by its age, unless its webhook is still to be told", async () => {
  const store = await open(await makeDatabase(4))
  const zero = { inputMs: 0, resultMs: 0, unstoredResultMs: 0, unstoredLargeResultMs: 0 }
  const slice = { rowsMax: 100, budgetMs: 1_000 }
  const payloads = { ...zero, requestMs: 0, inputMs: 1 }
  const none = { requests: 0, inputs: 0, results: 0, files: 0, uploads: 0, blobs: [], more: false }
  expect(await store.prune({ ...slice, policy: payloads })).toEqual({
    ...none,
    inputs: 1,
    blobs: ["in-1"],
  })
  const policy = { ...zero, requestMs: 1 }
  expect(await store.prune({ ...slice, policy })).toEqual({
    ...none,
    requests: 1,
    blobs: ["out-1"],
  })
  expect(await store.request(id(1))).toBeNull()
  expect(await store.body(2, "output")).toEqual({ blob: "out-2", bytes: 80_000 })
  expect(await store.positions([id(3)])).toEqual([0])
  const told = { at: 1, durationMs: 1, status: 200, answer: "", error: null, detail: null }
  const retries = { retriesMax: 1, retryBaseMs: 1, retryDelayMaxMs: 1 }
  await store.recordTry({ sequence: 2, number: 2, made: told, policy: retries, random: 0 })
  expect(await store.prune({ ...slice, policy })).toMatchObject({
    requests: 1,
    blobs: ["in-2", "out-2"],
  })
  expect(await store.request(id(3))).toMatchObject({ storeIo: true, lifecycle: null })
  await store.close()
})

test("an old database ends in the shape of a new one", async () => {
  const old = await makeDatabase(1)
  await (await open(old)).close()
  const fresh = join(folder, "fresh.db")
  await (await open(fresh)).close()
  expect(shape(old)).toEqual(shape(fresh))
  expect(shape(old)[0]).toEqual({ user_version: schemaVersion })
})
