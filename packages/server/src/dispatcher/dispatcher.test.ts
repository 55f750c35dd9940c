import { randomBytes } from "node:crypto"
import { afterEach, describe, expect, test } from "vitest"
import type { HelloFrame } from "@tintype/protocol"
import { StoreError } from "../store.ts"
import {
  closeAll,
  RawPeer,
  rawApp,
  secret,
  standIn,
  startRunner,
  TestServer,
  Wire,
} from "./dispatcher.suite.ts"

afterEach(closeAll)

const echo = rawApp("acme/echo", (input) => input)
const newSession = () => randomBytes(16).toString("hex")
/** Of a runner that goes on with these attempts. */
const holding = (session: string, ...leases: string[]): Partial<HelloFrame> => ({
  session,
  held: leases.map((lease) => ({ lease, attempt: 1, nextSeq: 1 })),
})

describe("claims", () => {
  test("a request that meets a free credit is inserted and claimed in one commit", async () => {
    const server = await TestServer.open()
    const peer = await RawPeer.link(server)
    peer.credit()
    await peer.applied()
    const before = server.sqlite.counts().commits
    await server.submit()
    await peer.next("assign")
    expect(server.sqlite.counts().commits).toBe(before + 1)
  })

  test("requests of one tick that meet free credits share one commit [4 slots]", async () => {
    const server = await TestServer.open()
    const peer = await RawPeer.link(server, { slots: 4 })
    peer.credit(4)
    await peer.applied()
    const before = server.sqlite.counts().commits
    await Promise.all([server.submit(), server.submit(), server.submit()])
    for (let count = 0; count < 3; count += 1) await peer.next("assign")
    expect(server.sqlite.counts().commits).toBe(before + 1)
  })

  test("nothing is assigned without a credit, and no more than there are", async () => {
    const server = await TestServer.open()
    const peer = await RawPeer.link(server, { slots: 2 })
    const requests = await Promise.all([server.submit(), server.submit(), server.submit()])
    await peer.applied()
    expect(peer.count("assign")).toBe(0)
    peer.credit(2)
    await peer.next("assign")
    await peer.next("assign")
    await peer.applied()
    expect(peer.count("assign")).toBe(2)
    const states = await Promise.all(requests.map(({ id }) => server.store.request(id)))
    expect(states.map((record) => record?.state)).toEqual(["running", "running", "queued"])
  })

  test("a runner that grants more credits than it has slots is cut", async () => {
    const server = await TestServer.open()
    const peer = await RawPeer.link(server, { slots: 2 })
    peer.credit(2)
    peer.credit(1)
    expect(await peer.closed).toEqual({ code: 1002, reason: "more credits than slots" })
  })

  test("apps take turns, whatever order their requests came in", async () => {
    const server = await TestServer.open()
    for (let count = 0; count < 3; count += 1) await server.submit({ app: "acme/a" })
    for (let count = 0; count < 3; count += 1) await server.submit({ app: "acme/b" })
    const peer = await RawPeer.link(server, { apps: ["acme/a", "acme/b"] })
    const order: string[] = []
    for (let count = 0; count < 6; count += 1) {
      peer.credit()
      const { app, lease } = await peer.next("assign")
      order.push(app)
      peer.send({ type: "accepted", lease })
      peer.done(lease)
      await peer.next("settled")
    }
    expect(order.slice(0, 4).toSorted()).toEqual(["acme/a", "acme/a", "acme/b", "acme/b"])
    for (const at of [0, 2, 4]) expect(order[at]).not.toBe(order[at + 1])
  })

  test("a request that nobody hinted is found all the same", async () => {
    const server = await TestServer.open({ timing: { leaseMs: 200 } })
    const peer = await RawPeer.link(server)
    peer.credit()
    await peer.applied()
    const { store } = server
    const { id } = await server.submit({ app: "acme/other" })
    await store.submit({ ...(await template(server, id)), app: "acme/echo", endpoint: "acme/echo" })
    expect((await peer.next("assign")).app).toBe("acme/echo")
  })

  test("a claim that the store refuses is made again, and every request is served", async () => {
    let refusals = 2
    const server = await TestServer.open({
      wrap: (store) =>
        standIn(store, "claim", (...input) =>
          refusals-- > 0 ? Promise.reject(new StoreError("full", "full")) : store.claim(...input),
        ),
    })
    const records = await Promise.all([1, 2, 3, 4, 5].map(() => server.submit()))
    startRunner(server, [echo], { slots: 2 })
    const ended = await Promise.all(records.map(({ id }) => server.terminal(id)))
    expect(ended.map(({ state }) => state)).toEqual(Array(5).fill("succeeded"))
  })

  test("what an earlier life of the server queued is claimed", async () => {
    const first = await TestServer.open()
    const { id } = await first.submit()
    const server = await TestServer.open({ folder: await first.crash() })
    startRunner(server, [echo])
    expect((await server.terminal(id)).state).toBe("succeeded")
  })
})

describe("a cut link", () => {
  test("an assign that was lost is sent again under the same lease, and is no second attempt", async () => {
    const server = await TestServer.open()
    const session = newSession()
    const first = await RawPeer.link(server, { session })
    first.credit()
    const { id } = await server.submit()
    const { lease } = await first.next("assign")
    first.cut()
    await server.logged("runner_disconnected")
    const second = await RawPeer.link(server, { session })
    const again = await second.next("assign")
    expect(again).toMatchObject({ lease, attempt: 1, requestId: id })
    second.send({ type: "accepted", lease })
    second.done(lease)
    expect(await second.next("settled")).toMatchObject({ lease, result: "settled" })
    expect(await server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 1 })
  })

  test("an assign that is said again takes one of the new link's credits", async () => {
    const server = await TestServer.open()
    const session = newSession()
    const first = await RawPeer.link(server, { session, slots: 2 })
    first.credit(2)
    await server.submit()
    await first.next("assign")
    first.cut()
    await server.logged("runner_disconnected")
    const second = await RawPeer.link(server, { session, slots: 2 })
    // As the runner does it: all its slots are free when it reads the welcome.
    second.credit(2)
    await second.next("assign")
    await Promise.all([server.submit(), server.submit(), server.submit()])
    await second.next("assign")
    await second.applied()
    expect(second.count("assign")).toBe(2)
  })

  test("a claim that crosses a cut takes a credit of the next link", async () => {
    const gate = Promise.withResolvers<void>()
    const server = await TestServer.open({
      wrap: (store) =>
        standIn(store, "claim", async (...input) => {
          await gate.promise
          return await store.claim(...input)
        }),
    })
    const session = newSession()
    const first = await RawPeer.link(server, { session })
    first.credit()
    await first.applied()
    await server.submit()
    await server.submit()
    first.cut()
    await server.logged("runner_disconnected")
    const second = await RawPeer.link(server, { session })
    second.credit()
    await second.applied()
    gate.resolve()
    await second.next("assign")
    await second.applied()
    expect(second.count("assign")).toBe(1)
  })

  test("credits never exceed the slots, however often the link is cut", async () => {
    const server = await TestServer.open({ timing: { eventFlushMs: 5 } })
    let atOnce = 0
    let atOnceMax = 0
    const app = rawApp("acme/echo", async (input, context) => {
      atOnce += 1
      atOnceMax = Math.max(atOnceMax, atOnce)
      context.log("a")
      await new Promise(setImmediate)
      context.log("b")
      atOnce -= 1
      return input
    })
    const wire = new Wire(server)
    startRunner(server, [app], { slots: 3, target: { socketPath: wire.socketPath, secret } })
    const records = await Promise.all(Array.from({ length: 40 }, () => server.submit()))
    const all = Promise.all(records.map(({ id }) => server.terminal(id)))
    for (let cuts = 1; cuts <= 10; cuts += 1) {
      await server.logged("runner_connected", cuts)
      wire.cut()
      await server.logged("runner_disconnected", cuts)
    }
    const outcomes = await all
    expect(outcomes.map(({ state }) => state)).toEqual(Array(40).fill("succeeded"))
    expect(outcomes.every(({ attempts }) => attempts === 1)).toBe(true)
    expect(atOnceMax).toBeLessThanOrEqual(3)
    expect(server.entries.filter(({ event }) => event === "link_protocol_error")).toEqual([])
  })

  test("the newest hello of a session wins; the older socket is told so", async () => {
    const server = await TestServer.open()
    const session = newSession()
    const first = await RawPeer.link(server, { session })
    first.credit()
    await server.submit()
    const { lease } = await first.next("assign")
    first.send({ type: "accepted", lease })
    await first.applied()
    const second = await RawPeer.link(server, holding(session, lease))
    expect(await first.closed).toEqual({ code: 1000, reason: "replaced" })
    expect(second.frames[0]).toMatchObject({ keep: [{ lease, storedSeq: 0 }], abandon: [] })
    second.done(lease)
    expect(await second.next("settled")).toMatchObject({ result: "settled" })
  })

  test("an attempt goes on over a restart of the server, with its outcome", async () => {
    const first = await TestServer.open()
    const started = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<void>()
    const app = rawApp("acme/echo", async (input) => {
      started.resolve()
      await finish.promise
      return input
    })
    startRunner(first, [app])
    const { id } = await first.submit()
    await started.promise
    const server = await TestServer.open({ folder: await first.crash() })
    finish.resolve()
    expect(await server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 1 })
  })
})

describe("outcomes", () => {
  test("an outcome and its last events are one commit", async () => {
    const server = await TestServer.open()
    const { peer, lease, record } = await running(server)
    const before = server.sqlite.counts().commits
    peer.log(lease, 1, 2)
    peer.done(lease)
    await peer.next("settled")
    expect(server.sqlite.counts().commits).toBe(before + 1)
    expect(await server.messages(record)).toEqual(["line 1", "line 2"])
  })

  test("an outcome that is said again is repeated, one of nobody's lease is stale", async () => {
    const server = await TestServer.open()
    const { peer, lease } = await running(server)
    peer.done(lease)
    expect(await peer.next("settled")).toMatchObject({ result: "settled" })
    peer.done(lease, { status: 500 })
    expect(await peer.next("settled")).toMatchObject({ lease, result: "repeated" })
    peer.done("0".repeat(32))
    expect(await peer.next("settled")).toMatchObject({ result: "stale" })
  })

  test("a zombie's outcome is refused after its session ended", async () => {
    const server = await TestServer.open()
    const { peer, lease, record } = await running(server)
    const session = (await server.store.request(record.id))!.attempt!.session
    await server.dispatcher.endSession(session, "test")
    expect(await peer.closed).toEqual({ code: 1000, reason: "expired" })
    const zombie = await RawPeer.link(server)
    zombie.done(lease)
    expect(await zombie.next("settled")).toMatchObject({ lease, result: "stale" })
    expect(await server.store.request(record.id)).toMatchObject({ state: "queued", attempts: 1 })
  })

  test("headers of an app that are too large are answered 502", async () => {
    const server = await TestServer.open()
    const { peer, lease, record } = await running(server)
    peer.done(lease, { headers: { "x-large": "a".repeat(17_000) } })
    const { outcome } = await server.terminal(record.id)
    expect(outcome).toMatchObject({ status: 502, errorType: "runner_incomplete_response" })
  })

  test("an outcome that a full store refuses is settled as soon as it can be, nothing lost", async () => {
    let refusals = 2
    const server = await TestServer.open({
      timing: { eventFlushMs: 20 },
      wrap: (store) =>
        standIn(store, "settle", (...input) =>
          refusals-- > 0 ? Promise.reject(new StoreError("full", "full")) : store.settle(...input),
        ),
    })
    const app = rawApp("acme/echo", (input, context) => {
      context.log("kept")
      return input
    })
    startRunner(server, [app])
    const { id } = await server.submit({ input: { inline: Buffer.alloc(30_000, "1") } })
    const ended = await server.terminal(id)
    expect(ended).toMatchObject({ state: "succeeded", attempts: 1 })
    expect(await server.messages(ended)).toEqual(["kept"])
    await server.logged("settle_failed", 2)
  })

  test("an outcome above the inline limit is a blob, written once though the store refuses", async () => {
    let refusals = 2
    const server = await TestServer.open({
      wrap: (store) =>
        standIn(store, "settle", (...input) =>
          refusals-- > 0 ? Promise.reject(new StoreError("full", "full")) : store.settle(...input),
        ),
    })
    const { peer, lease, record } = await running(server)
    const body = randomBytes(100_000)
    peer.done(lease, { body })
    expect(await server.output(await server.terminal(record.id))).toEqual(body)
    const blobs: string[] = []
    for await (const name of server.blobs.list(0)) blobs.push(name)
    expect(blobs).toHaveLength(1)
  })
})

describe("cancels", () => {
  test("a cancel reaches the holder, whose abort ends the request cancelled", async () => {
    const server = await TestServer.open()
    const started = Promise.withResolvers<void>()
    const app = rawApp("acme/echo", async (input, { signal }) => {
      started.resolve()
      await new Promise((resolve) => {
        signal.addEventListener("abort", resolve)
      })
      signal.throwIfAborted()
      return input
    })
    startRunner(server, [app])
    const { id } = await server.submit()
    await started.promise
    expect(await server.cancel(id)).toBe("requested")
    expect((await server.terminal(id)).state).toBe("cancelled")
  })

  test("a cancel reaches its own attempt, and no other of the same runner", async () => {
    const server = await TestServer.open()
    const peer = await RawPeer.link(server, { slots: 2 })
    peer.credit(2)
    await server.submit()
    const { id } = await server.submit()
    const leases = [(await peer.next("assign")).lease, (await peer.next("assign")).lease]
    expect(await server.cancel(id)).toBe("requested")
    expect(await peer.next("cancel")).toMatchObject({ lease: leases[1] })
    await peer.applied()
    expect(peer.count("cancel")).toBe(1)
  })

  test("a cancel that is asked while the claim is under way reaches the holder", async () => {
    const server = await TestServer.open()
    const peer = await RawPeer.link(server)
    peer.credit()
    await peer.applied()
    const id = "00000000-0000-4000-8000-000000000001"
    const submitted = server.submit({ id })
    const cancelled = server.cancel(id)
    await submitted
    expect(await cancelled).toBe("requested")
    const { lease } = await peer.next("assign")
    expect(await peer.next("cancel")).toEqual({ type: "cancel", lease, reason: "client_cancelled" })
  })

  test("a cancel without a link is told after the next hello [held, and assigned again]", async () => {
    const server = await TestServer.open()
    const session = newSession()
    const first = await RawPeer.link(server, { session, slots: 2 })
    first.credit(2)
    const records = [await server.submit(), await server.submit()]
    const held = await first.next("assign")
    const unseen = await first.next("assign")
    first.cut()
    await server.logged("runner_disconnected")
    for (const { id } of records) expect(await server.cancel(id)).toBe("requested")
    const second = await RawPeer.link(server, { ...holding(session, held.lease), slots: 2 })
    const told = [await second.next("cancel"), await second.next("cancel")]
    expect(told.map(({ lease }) => lease)).toEqual([held.lease, unseen.lease])
  })
})

describe("a drain", () => {
  test("waits for what runs, then sends exit", async () => {
    const server = await TestServer.open()
    const { peer, lease, record } = await running(server)
    const { id: waiting } = await server.submit()
    const drained = server.dispatcher.drain(15_000, new AbortController().signal)
    await peer.next("drain")
    peer.done(lease)
    peer.credit()
    await drained
    await peer.next("exit")
    expect((await server.terminal(record.id)).state).toBe("succeeded")
    expect(await server.store.request(waiting)).toMatchObject({ state: "queued", attempts: 0 })
  })

  test("puts back what does not end in time, uncounted, and tells its runner", async () => {
    const server = await TestServer.open()
    const { peer, lease, record } = await running(server)
    await server.dispatcher.drain(20, new AbortController().signal)
    expect(await peer.next("cancel")).toMatchObject({ lease, reason: "server_stopping" })
    await peer.next("exit")
    const left = await server.store.request(record.id)
    expect(left).toMatchObject({ state: "queued", attempts: 1, attemptsCounted: 0 })
  })

  test("is over at once when the signal aborts, and when the last runner dies", async () => {
    const server = await TestServer.open()
    await running(server)
    const hurry = new AbortController()
    const drained = server.dispatcher.drain(60_000, hurry.signal)
    hurry.abort()
    await expect(drained).resolves.toBeUndefined()

    const other = await TestServer.open()
    await running(other)
    const waited = other.dispatcher.drain(60_000, new AbortController().signal)
    await other.dispatcher.endSessionsWhere((pid) => pid === process.pid)
    await expect(waited).resolves.toBeUndefined()
  })

  test("ends the runner itself [a real one]", async () => {
    const server = await TestServer.open()
    const runner = startRunner(server, [echo])
    const { id } = await server.submit()
    await server.terminal(id)
    await server.dispatcher.drain(5_000, new AbortController().signal)
    expect(await runner.ended).toBe("exit")
  })
})

/** An attempt that a raw peer holds and has accepted. */
async function running(server: TestServer, hello: Partial<HelloFrame> = {}) {
  const peer = await RawPeer.link(server, hello)
  peer.credit()
  const record = await server.submit()
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  await peer.applied()
  return { peer, lease, record }
}

async function template(server: TestServer, id: string) {
  const record = (await server.store.request(id))!
  const { account, door, path, priority } = record
  const input = { inline: Buffer.from("{}") }
  return {
    id: crypto.randomUUID(),
    account,
    door,
    path,
    priority,
    input,
    headers: {},
    fileBase: "",
  }
}
