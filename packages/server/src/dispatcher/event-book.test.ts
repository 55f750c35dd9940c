import { randomBytes } from "node:crypto"
import { afterEach, describe, expect, test } from "vitest"
import type { RequestRecord } from "../domain/request.ts"
import { type EventCursor, StoreError } from "../store.ts"
import {
  closeAll,
  RawPeer,
  rawApp,
  secret,
  standIn,
  startRunner,
  TestServer,
  type TestServerOptions,
  Wire,
} from "./dispatcher.suite.ts"

afterEach(closeAll)

/** An attempt that a raw peer holds and has accepted. */
async function running(options: TestServerOptions = {}) {
  const server = await TestServer.open(options)
  const session = randomBytes(16).toString("hex")
  const peer = await RawPeer.link(server, { session })
  peer.credit()
  const { id } = await server.submit()
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  await peer.applied()
  const record = (await server.store.request(id))!
  const stored = async () => (await server.store.events(record.sequence)).length
  return { server, session, peer, lease, record, stored }
}

describe("an event", () => {
  test("is visible at once, and not stored before its flush", async () => {
    const { server, peer, lease, record, stored } = await running({
      timing: { eventFlushMs: 60_000 },
    })
    let rings = 0
    const unwatch = server.dispatcher.events.watch(record.id, () => (rings += 1))
    peer.log(lease, 1, 2)
    await peer.applied()
    expect(await server.messages(record)).toEqual(["line 1", "line 2"])
    expect(await stored()).toBe(0)
    expect(rings).toBe(2)
    unwatch()
    peer.log(lease, 3)
    await peer.applied()
    expect(rings).toBe(2)
  })

  test("is stored within eventFlushMs, and the runner hears of it then", async () => {
    const { peer, lease, stored } = await running({ timing: { eventFlushMs: 20 } })
    peer.log(lease, 1, 2)
    expect(await peer.next("stored")).toEqual({ type: "stored", lease, seq: 2 })
    expect(await stored()).toBe(2)
  })

  test("is said to be stored only after its commit", async () => {
    const gate = Promise.withResolvers<void>()
    const { peer, lease } = await running({
      timing: { eventFlushMs: 1 },
      wrap: (store) =>
        standIn(store, "appendEvents", async (batches) => {
          await gate.promise
          return await store.appendEvents(batches)
        }),
    })
    peer.log(lease, 1)
    await peer.applied()
    await peer.applied()
    expect(peer.count("stored")).toBe(0)
    gate.resolve()
    await peer.next("stored")
  })

  test("that the store refuses stays in memory and is stored later", async () => {
    let refusals = 2
    const { server, peer, lease, record } = await running({
      timing: { eventFlushMs: 5 },
      wrap: (store) =>
        standIn(store, "appendEvents", (batches) =>
          refusals-- > 0
            ? Promise.reject(new StoreError("full", "full"))
            : store.appendEvents(batches),
        ),
    })
    peer.log(lease, 1, 2, 3)
    expect(await peer.next("stored")).toMatchObject({ seq: 3 })
    expect(await server.messages(record)).toEqual(["line 1", "line 2", "line 3"])
    expect(server.dispatcher.events.pendingBytes).toBe(0)
  })

  test("that does not follow the one before is a protocol error", async () => {
    const { server, peer, lease, record } = await running()
    peer.log(lease, 1, 3, 4)
    expect(await peer.closed).toEqual({ code: 1002, reason: "event out of order" })
    expect(await server.messages(record)).toEqual(["line 1"])
  })

  test("that is sent again is told once", async () => {
    const { server, peer, lease, record } = await running()
    peer.log(lease, 1, 2)
    peer.log(lease, 1, 2, 3)
    await peer.applied()
    expect(await server.messages(record)).toEqual(["line 1", "line 2", "line 3"])
  })

  test("of an attempt that was lost takes no memory", async () => {
    const { server, session, peer, lease, record } = await running({
      timing: { eventFlushMs: 60_000 },
    })
    peer.log(lease, 1)
    await peer.applied()
    expect(server.dispatcher.events.pendingBytes).toBeGreaterThan(0)
    await server.dispatcher.endSession(session, "test")
    expect(server.dispatcher.events.pendingBytes).toBe(0)
    expect(await server.messages(record)).toEqual([expect.stringContaining("the runner was lost")])
  })

  test("that is pending when the server closes is stored, and nothing is tried after", async () => {
    const { server, peer, lease, record } = await running({ timing: { eventFlushMs: 60_000 } })
    peer.log(lease, 1)
    await peer.applied()
    const next = await TestServer.open({ folder: await server.crash() })
    expect(await next.messages(record)).toEqual(["line 1"])
  })
})

test("progress is the newest, and gone with the attempt", async () => {
  const { server, peer, lease, record } = await running()
  for (const seq of [1, 2]) {
    const event = { seq, at: 1, kind: "progress", step: seq, steps: 4 } as const
    peer.send({ type: "event", lease, event })
  }
  await peer.applied()
  expect(server.dispatcher.events.progress(record.id)).toMatchObject({ step: 2, steps: 4 })
  peer.done(lease)
  await peer.next("settled")
  expect(server.dispatcher.events.progress(record.id)).toBeNull()
})

/** Reads on until the request is terminal, as a status stream does. */
async function follow(server: TestServer, record: RequestRecord, after?: EventCursor) {
  const seen: string[] = []
  let cursor = after
  for (;;) {
    const current = (await server.snapshots.get(record.id))!
    const read = await server.dispatcher.events.read(current, cursor)
    for (const { attempt, event } of read) {
      cursor = { attempt, seq: event.seq }
      if (event.kind === "log") seen.push(event.message)
    }
    if (current.state !== "queued" && current.state !== "running") return { seen, cursor }
    await new Promise<void>((resolve) => {
      const ends = [
        server.dispatcher.events.watch(record.id, wake),
        server.snapshots.watch(record.id, wake),
      ]
      function wake() {
        for (const end of ends) end()
        resolve()
      }
    })
  }
}

describe("a reader that follows its cursor sees every line once, in order", () => {
  const lines = 300
  const expected = Array.from({ length: lines }, (_, index) => `line ${index + 1}`)
  const chatter = (pause: () => Promise<void>) =>
    rawApp("acme/echo", async (input, context) => {
      for (let line = 1; line <= lines; line += 1) {
        context.log(`line ${line}`)
        if (line % 10 === 0) await pause()
      }
      return input
    })

  test("while the link is cut again and again", async () => {
    const server = await TestServer.open({ timing: { eventFlushMs: 3 } })
    const wire = new Wire(server)
    let connected = 0
    const pause = async () => {
      if (connected < 8) {
        connected += 1
        await server.logged("runner_connected", connected)
        wire.cut()
      }
      await new Promise(setImmediate)
    }
    const target = { socketPath: wire.socketPath, secret }
    startRunner(server, [chatter(pause)], { target })
    const record = await server.submit()
    const { seen } = await follow(server, record)
    expect(connected).toBe(8)
    expect(seen).toEqual(expected)
    expect(await server.messages(record)).toEqual(expected)
  })

  test("over a restart of the server", async () => {
    const first = await TestServer.open({ timing: { eventFlushMs: 3 } })
    const half = Promise.withResolvers<void>()
    const restarted = Promise.withResolvers<void>()
    let pauses = 0
    const pause = async () => {
      pauses += 1
      if (pauses !== 15) return
      half.resolve()
      await restarted.promise
    }
    startRunner(first, [chatter(pause)])
    const record = await first.submit()
    await half.promise
    const server = await TestServer.open({ folder: await first.crash() })
    restarted.resolve()
    const { seen } = await follow(server, record)
    expect(seen).toEqual(expected)
  })
})
