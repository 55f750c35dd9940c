import { Readable } from "node:stream"
import { afterEach, describe, expect, test } from "vitest"
import { closeAll, TestServer } from "../dispatcher/dispatcher.suite.ts"
import { Sweeper, type SweeperParts } from "./sweeper.ts"

afterEach(closeAll)

function sweeperOf({ store, blobs }: TestServer, parts: Partial<SweeperParts> = {}) {
  const entries: Record<string, unknown>[] = []
  const log = (entry: Record<string, unknown>) => void entries.push(entry)
  const times = { everyMs: 60_000, olderThanMs: 0 }
  const sweeper = new Sweeper({ store, blobs, held: noneHeld, log, ...times, ...parts })
  return { sweeper, entries }
}

function noneHeld(): Set<string> {
  return new Set()
}

async function blob(server: TestServer): Promise<string> {
  return (await server.blobs.write(Readable.from([Buffer.from("bytes")]))).name
}

async function names(server: TestServer): Promise<string[]> {
  const found: string[] = []
  for await (const name of server.blobs.list(0)) found.push(name)
  return found.toSorted()
}

describe("a sweep", () => {
  test("deletes what no row names, and nothing else [input, file]", async () => {
    const server = await TestServer.open()
    const [input, file] = [await blob(server), await blob(server)]
    await Promise.all([blob(server), blob(server)])
    await server.submit({ input: { blob: input, bytes: 5 } })
    await server.store.addFile({
      name: "b/1/x.png",
      account: "local",
      blobs: [{ name: file, bytes: 5 }],
      bytes: 5,
      contentType: "image/png",
      request: null,
      createdAt: 1,
      expiresAt: null,
      acl: null,
    })
    expect(await sweeperOf(server).sweeper.sweep()).toBe(2)
    expect(await names(server)).toEqual([input, file].toSorted())
  })

  test("leaves what is in use without a row, however old, and asks for that first", async () => {
    const server = await TestServer.open()
    const [held, stray] = [await blob(server), await blob(server)]
    const asked: string[] = []
    const { sweeper } = sweeperOf(server, {
      held: () => {
        asked.push("held")
        return new Set([held])
      },
      store: {
        unreferencedBlobs: async (batch) => {
          asked.push("rows")
          return await server.store.unreferencedBlobs(batch)
        },
      },
    })
    expect(await sweeper.sweep()).toBe(1)
    expect(asked).toEqual(["held", "rows"])
    expect(await names(server)).toEqual([held])
    expect(stray).not.toBe(held)
  })

  test("leaves a young blob, whose row may be about to commit", async () => {
    const server = await TestServer.open()
    const name = await blob(server)
    expect(await sweeperOf(server, { olderThanMs: 60_000 }).sweeper.sweep()).toBe(0)
    expect(await names(server)).toEqual([name])
  })

  test("asks in batches, and finds all of them", async () => {
    const server = await TestServer.open()
    const many = Array.from({ length: 1_201 }, (_, at) => at.toString(16).padStart(32, "0"))
    const deleted: string[] = []
    const asked: number[] = []
    const { sweeper } = sweeperOf(server, {
      blobs: {
        list: () => Readable.from(many),
        delete: async (name) => void deleted.push(name),
      },
      store: {
        unreferencedBlobs: (batch) => {
          asked.push(batch.length)
          return server.store.unreferencedBlobs(batch)
        },
      },
    })
    expect(await sweeper.sweep()).toBe(1_201)
    expect(deleted).toEqual(many)
    expect(asked).toEqual([500, 500, 201])
  })
})

test("sweeping goes on after one that failed, one at a time, until it is stopped", async () => {
  const server = await TestServer.open()
  await blob(server)
  let failures = 1
  let atOnce = 0
  let atOnceMax = 0
  const swept = Promise.withResolvers<void>()
  const { sweeper, entries } = sweeperOf(server, {
    everyMs: 5,
    store: {
      unreferencedBlobs: async (batch) => {
        atOnce += 1
        atOnceMax = Math.max(atOnceMax, atOnce)
        await new Promise((resolve) => {
          setTimeout(resolve, 20)
        })
        atOnce -= 1
        if (failures-- > 0) throw new Error("busy")
        return await server.store.unreferencedBlobs(batch)
      },
    },
    log: (entry) => {
      entries.push(entry)
      if (entry["event"] === "blobs_swept") swept.resolve()
    },
  })
  sweeper.start()
  await swept.promise
  await sweeper.stop()
  expect(atOnceMax).toBe(1)
  expect(entries.map(({ event }) => event)).toEqual(["sweep_failed", "blobs_swept"])
  expect(await names(server)).toEqual([])
})

test("a stop does not wait for the end of a long sweep", async () => {
  const server = await TestServer.open()
  let listed = 0
  const stopped = Promise.withResolvers<void>()
  const { sweeper } = sweeperOf(server, {
    blobs: {
      async *list() {
        for (;;) {
          listed += 1
          yield "0".repeat(32)
          if (listed === 3) stopped.resolve()
          await new Promise(setImmediate)
        }
      },
      delete: async () => {},
    },
  })
  sweeper.start()
  await stopped.promise
  await sweeper.stop()
  expect(listed).toBeLessThan(1_000)
})
