import { getEventListeners } from "node:events"
import { afterEach, describe, expect, test } from "vitest"
import type { RequestRecord } from "./domain/request.ts"
import { closeAll, TestServer } from "./dispatcher/dispatcher.suite.ts"
import { SnapshotCache } from "./snapshot-cache.ts"

afterEach(closeAll)

/** A store that counts what it is asked, and answers when it is told to. */
function slowReads() {
  const asked: string[] = []
  const answers: ((record: RequestRecord | null) => void)[] = []
  const request = (id: string) => {
    asked.push(id)
    return new Promise<RequestRecord | null>((resolve) => answers.push(resolve))
  }
  return { asked, answers, store: { request } }
}

async function records(): Promise<{
  server: TestServer
  queued: RequestRecord
  ended: RequestRecord
}> {
  const server = await TestServer.open()
  const queued = await server.submit()
  await server.cancel(queued.id)
  return { server, queued, ended: (await server.store.request(queued.id))! }
}

describe("a snapshot", () => {
  test("is read from the store once, and null when there is none", async () => {
    const { server, queued, ended } = await records()
    let reads = 0
    const store = {
      request: (id: string) => {
        reads += 1
        return server.store.request(id)
      },
    }
    const cache = new SnapshotCache(store, 1_000_000)
    expect(await cache.get(queued.id)).toEqual(ended)
    expect(await cache.get(queued.id)).toEqual(ended)
    expect(reads).toBe(1)
    expect(await cache.get("nobody")).toBeNull()
  })

  test("is never older than one that was seen [a slow read, a late commit]", async () => {
    const { queued, ended } = await records()
    const { store, answers } = slowReads()
    const cache = new SnapshotCache(store, 1_000_000)
    const read = cache.get(queued.id)
    cache.commit([ended])
    answers[0]!(queued)
    expect(await read).toEqual(ended)
    cache.commit([queued])
    expect(await cache.get(queued.id)).toEqual(ended)
  })

  test("that was least recently used is dropped when there are too many bytes", async () => {
    const { ended } = await records()
    const { store, asked } = slowReads()
    const cache = new SnapshotCache(store, 3_000)
    const named = (id: string) => ({ ...ended, id })
    cache.commit(["a", "b"].map(named))
    await cache.get("a")
    cache.commit(["c", "d"].map(named))
    for (const id of ["c", "d"]) expect((await cache.get(id))?.id).toBe(id)
    expect(asked).toEqual([])
    void cache.get("b")
    expect(asked).toEqual(["b"])
  })

  test("does not count twice when it is replaced", async () => {
    const { ended } = await records()
    const { store, asked } = slowReads()
    const cache = new SnapshotCache(store, 4_000)
    cache.commit([{ ...ended, id: "other" }])
    for (let version = 1; version < 100; version += 1) cache.commit([{ ...ended, version }])
    expect((await cache.get("other"))?.id).toBe("other")
    expect(asked).toEqual([])
  })
})

describe("waiting for the end", () => {
  test("ends with the change, also one between the read and the wait", async () => {
    const { queued, ended } = await records()
    const { store, answers } = slowReads()
    const cache = new SnapshotCache(store, 0)
    const waiting = cache.untilTerminal(queued.id, {})
    cache.commit([ended])
    answers[0]!(queued)
    await new Promise(setImmediate)
    answers[1]!(ended)
    expect(await waiting).toEqual(ended)
  })

  test("ends with the timeout and with an abort, and tells what is so far", async () => {
    const server = await TestServer.open()
    const { id } = await server.submit()
    const late = await server.snapshots.untilTerminal(id, { timeoutMs: 10 })
    expect(late?.state).toBe("queued")
    const gone = new AbortController()
    const waiting = server.snapshots.untilTerminal(id, { signal: gone.signal })
    gone.abort()
    expect((await waiting)?.state).toBe("queued")
    expect((await server.snapshots.untilTerminal(id, { signal: gone.signal }))?.state).toBe(
      "queued",
    )
    expect(await server.snapshots.untilTerminal("nobody", {})).toBeNull()
  })

  test("leaves no listener on the signal, whichever way it ends", async () => {
    const server = await TestServer.open()
    const { id } = await server.submit()
    const { signal } = new AbortController()
    await server.snapshots.untilTerminal(id, { signal, timeoutMs: 5 })
    const waiting = server.snapshots.untilTerminal(id, { signal })
    await server.cancel(id)
    await waiting
    expect(getEventListeners(signal, "abort")).toEqual([])
  })
})

test("a watcher hears every commit until it ends, and may end while it is told", async () => {
  const { queued, ended } = await records()
  const cache = new SnapshotCache(slowReads().store, 1_000)
  const heard: number[] = []
  const end = cache.watch(queued.id, ({ version }) => {
    heard.push(version)
    if (version === ended.version) end()
  })
  const others: number[] = []
  cache.watch(queued.id, ({ version }) => others.push(version))
  cache.commit([queued, ended, { ...ended, version: 9 }])
  expect(heard).toEqual([1, 2])
  expect(others).toEqual([1, 2, 9])
})
