import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { BlobStore } from "../blob.ts"
import { openDiskBlobs } from "../blobs/disk/disk-blobs.ts"
import { systemClock } from "../clock.ts"
import { defaultConfig, type Retention } from "../config.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { Store } from "../store.ts"
import { openSqliteStore } from "../stores/sqlite/sqlite-store.ts"
import { newHello, newLease, newRequest } from "../stores/store.suite.ts"
import { Pruner, type PrunerParts } from "./pruner.ts"
import { Sweeper } from "./sweeper.ts"

const { requestMs } = defaultConfig.retention

let folder = ""
let now = 0
let store: Store
let blobs: BlobStore
let pruners: Pruner[] = []

beforeEach(async () => {
  now = 1_000_000
  folder = await mkdtemp(join(tmpdir(), "tintype-pruner-"))
  store = await openSqliteStore({
    path: join(folder, "pruner.db"),
    limits: defaultConfig.limits,
    clock: () => now,
    onCommit: (changed) => {
      for (const pruner of pruners) pruner.commit(changed)
    },
    onFatal: (error) => {
      throw error
    },
  })
  await store.openSession(newHello("s1"))
  blobs = await openDiskBlobs({ folder: join(folder, "blobs") })
})

afterEach(async () => {
  for (const pruner of pruners) await pruner.stop()
  pruners = []
  await blobs.close()
  await store.close()
  await rm(folder, { recursive: true })
})

interface Options extends Partial<Omit<PrunerParts, "settings">> {
  settings?: Partial<Retention>
}

function prunerOf({ settings, ...parts }: Options = {}) {
  const entries: Record<string, unknown>[] = []
  let heard = Promise.withResolvers<Record<string, unknown>>()
  const log = (entry: Record<string, unknown>) => {
    entries.push(entry)
    heard.resolve(entry)
    heard = Promise.withResolvers()
  }
  const pruner = new Pruner({
    store,
    blobs,
    settings: { ...defaultConfig.retention, pruneEveryMs: 3_600_000, pauseMs: 1, ...settings },
    clock: systemClock,
    log,
    ...parts,
  })
  pruners.push(pruner)
  return { pruner, entries, heard: () => heard.promise }
}

async function blob(): Promise<string> {
  return (await blobs.write(Readable.from([Buffer.from("bytes")]))).name
}

async function names(): Promise<string[]> {
  const found: string[] = []
  for await (const name of blobs.list(0)) found.push(name)
  return found.toSorted()
}

/** A request with an input and an output in blobs. */
async function finish(storeIo = true): Promise<{ record: RequestRecord; named: string[] }> {
  const [input, output] = [await blob(), await blob()]
  await store.submit(newRequest({ storeIo, input: { blob: input, bytes: 5 } }))
  const lease = newLease()
  const [claim] = await store.claim({ session: "s1", apps: [newRequest().app], leases: [lease] })
  const answer = { kind: "answered", status: 200, headers: {}, inferenceMs: 1 } as const
  const body = { blob: output, bytes: 5 }
  await store.settle({ lease, session: "s1", result: { ...answer, body } })
  return { record: claim!.request, named: [input, output] }
}

describe("a pass", () => {
  test("removes what is due, slice by slice, and the blobs that nothing names any more", async () => {
    const old = [await finish(), await finish(), await finish()]
    const stray = await blob()
    now += requestMs
    const young = await finish()
    const { pruner } = prunerOf({ settings: { sliceRowsMax: 1 } })
    expect(await pruner.prune()).toEqual({
      requests: 3,
      inputs: 0,
      results: 0,
      files: 0,
      uploads: 0,
      blobs: 6,
      slices: 4,
    })
    for (const { record } of old) expect(await store.request(record.id)).toBeNull()
    expect(await store.request(young.record.id)).not.toBeNull()
    // What no row ever named is the sweeper's.
    expect(await names()).toEqual([...young.named, stray].toSorted())
  })

  test("keeps every promise of a blob: none is deleted before the commit that lets go of it", async () => {
    await finish()
    now += requestMs
    const seen: string[][] = []
    const { pruner } = prunerOf({
      blobs: {
        delete: async (name) => {
          seen.push(await store.unreferencedBlobs([name]))
          await blobs.delete(name)
        },
      },
    })
    await pruner.prune()
    expect(seen.map((found) => found.length)).toEqual([1, 1])
    expect(await names()).toEqual([])
  })

  test("lets other writes in between two slices, and asks for slices of half their time", async () => {
    for (let at = 0; at < 6; at += 1) await finish()
    now += requestMs
    const order: string[] = []
    const pauses: number[] = []
    const writes: Promise<unknown>[] = []
    const { pruner } = prunerOf({
      settings: { sliceRowsMax: 2, sliceMs: 50, pauseMs: 5 },
      clock: {
        ...systemClock,
        setTimeout: (callback, ms) => {
          pauses.push(ms)
          return systemClock.setTimeout(callback, ms)
        },
      },
      store: {
        prune: async (slice) => {
          expect([slice.rowsMax, slice.budgetMs]).toEqual([2, 25])
          const pruned = await store.prune(slice)
          order.push("slice")
          writes.push(store.submit(newRequest()).then(() => order.push("submit")))
          return pruned
        },
      },
    })
    await pruner.prune()
    await Promise.all(writes)
    expect(pauses).toEqual([5, 5, 5])
    expect(order.slice(0, 6)).toEqual(["slice", "submit", "slice", "submit", "slice", "submit"])
  })

  test("that was cut short between the commit and its blobs leaves them to the sweeper", async () => {
    await finish()
    const young = await (async () => {
      now += requestMs
      return await finish()
    })()
    const dead = { delete: async () => await Promise.reject(new Error("killed")) }
    await expect(prunerOf({ blobs: dead }).pruner.prune()).rejects.toThrow("killed")
    expect(await names()).toHaveLength(4)
    // The next life: the rows are gone, so that no pass finds these blobs again, but a sweep does.
    expect(await prunerOf().pruner.prune()).toMatchObject({ requests: 0, blobs: 0 })
    const sweeper = new Sweeper({
      store,
      blobs,
      held: () => new Set(),
      everyMs: 3_600_000,
      olderThanMs: 0,
      log: () => {},
    })
    expect(await sweeper.sweep()).toBe(2)
    expect(await names()).toEqual(young.named.toSorted())
  })
})

describe("by its timer", () => {
  test("it prunes at once and then again, says in one line what it did, and nothing when it did nothing", async () => {
    await finish()
    now += requestMs
    const { pruner, entries, heard } = prunerOf({ settings: { pruneEveryMs: 5 } })
    const first = heard()
    pruner.start()
    expect(await first).toEqual({
      event: "pruned",
      requests: 1,
      inputs: 0,
      results: 0,
      files: 0,
      uploads: 0,
      blobs: 2,
      slices: 1,
      ms: expect.any(Number),
    })
    const again = heard()
    await finish()
    now += requestMs
    expect(await again).toMatchObject({ event: "pruned", requests: 1 })
    expect(entries).toHaveLength(2)
  })

  test("goes on after a pass that failed", async () => {
    await finish()
    now += requestMs
    let failures = 1
    const { pruner, heard } = prunerOf({
      settings: { pruneEveryMs: 5 },
      store: {
        prune: async (slice) => {
          if (failures-- > 0) throw new Error("busy")
          return await store.prune(slice)
        },
      },
    })
    const first = heard()
    pruner.start()
    expect(await first).toMatchObject({ event: "prune_failed" })
    expect(await heard()).toMatchObject({ event: "pruned", requests: 1 })
  })

  test("takes an input that is not to be kept soon after its request has ended", async () => {
    const quick = {
      ...systemClock,
      setTimeout: (callback: () => void, ms: number) => systemClock.setTimeout(callback, ms / 100),
    }
    const { pruner, heard } = prunerOf({ clock: quick })
    pruner.start()
    await finish()
    const pruned = heard()
    const { record, named } = await finish(false)
    expect(await pruned).toMatchObject({ inputs: 1, results: 0, requests: 0, blobs: 1 })
    expect(await store.body(record.sequence, "input")).toBeNull()
    expect(await names()).not.toContain(named[0])
    expect(await names()).toContain(named[1])
  })

  test("a stop ends a long pass after its slice, and nothing comes after it", async () => {
    for (let at = 0; at < 3; at += 1) await finish()
    now += requestMs
    const sliced = Promise.withResolvers<void>()
    let slices = 0
    const { pruner } = prunerOf({
      settings: { sliceRowsMax: 1, pauseMs: 3_600_000 },
      store: {
        prune: async (slice) => {
          const pruned = await store.prune(slice)
          slices += 1
          sliced.resolve()
          return pruned
        },
      },
    })
    pruner.start()
    await sliced.promise
    await pruner.stop()
    await finish(false)
    expect(slices).toBe(1)
  })
})
