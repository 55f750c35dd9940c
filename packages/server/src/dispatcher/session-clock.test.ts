import { randomBytes } from "node:crypto"
import { afterEach, describe, expect, test } from "vitest"
import { StoreError, type Store } from "../store.ts"
import { closeAll, RawPeer, rawApp, standIn, startRunner, TestServer } from "./dispatcher.suite.ts"

afterEach(closeAll)

const newSession = () => randomBytes(16).toString("hex")
const held = (lease: string) => [{ lease, attempt: 1, nextSeq: 1 }]
/** Short times; the ticks follow them. */
const quick = { leaseMs: 300, resumeMs: 300, renewEveryMs: 50, acceptMs: 60_000 }

/** Holds up the event loop, as a stopped or starved process is held up. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

describe("an expiry", () => {
  test("of a link that answers nothing any more gives its attempt to another runner", async () => {
    const server = await TestServer.open({ timing: quick })
    const silent = await RawPeer.link(server)
    silent.credit()
    const { id } = await server.submit()
    const { lease } = await silent.next("assign")
    silent.send({ type: "accepted", lease })
    await silent.applied()
    silent.mute = true
    const other = await RawPeer.link(server)
    other.credit()
    const again = await other.next("assign")
    expect(again).toMatchObject({ requestId: id, attempt: 2 })
    expect(again.lease).not.toBe(lease)
    expect(await silent.closed).toEqual({ code: 1000, reason: "expired" })
    expect(server.dispatcher.isHosted("acme/echo")).toBe(true)
    // It may be stopped, and would go on as a zombie.
    expect(server.endedPids).toEqual([process.pid])
  })

  test("comes leaseMs after the link was cut, not with the cut", async () => {
    const server = await TestServer.open({ timing: quick })
    const session = newSession()
    const peer = await RawPeer.link(server, { session })
    peer.credit()
    const { id } = await server.submit()
    await peer.next("assign")
    peer.cut()
    await server.logged("runner_disconnected")
    const cutAt = performance.now()
    expect((await server.store.request(id))?.state).toBe("running")
    await server.until(id, ({ state }) => state === "queued")
    expect(performance.now() - cutAt).toBeGreaterThan(quick.leaseMs - 20)
  })

  test("is final: its hello is told so, with everything to abandon", async () => {
    const server = await TestServer.open({ timing: quick })
    const session = newSession()
    const first = await RawPeer.link(server, { session })
    first.credit()
    await server.submit()
    const { lease } = await first.next("assign")
    first.cut()
    await server.logged("session_ended")
    const late = new RawPeer(server)
    await late.opened
    late.hello({ session, held: held(lease), unacked: [lease] })
    expect(await late.next("welcome")).toMatchObject({ keep: [], abandon: [lease] })
    expect(await late.closed).toEqual({ code: 1000, reason: "expired" })
    expect(server.dispatcher.isHosted("acme/echo")).toBe(false)
  })

  test("of a runner that lives makes it come back as a new session, and work goes on", async () => {
    const server = await TestServer.open()
    const started = Promise.withResolvers<void>()
    const app = rawApp("acme/echo", async (input, { attempt, signal }) => {
      if (attempt > 1) return input
      started.resolve()
      await new Promise((resolve) => {
        signal.addEventListener("abort", resolve)
      })
      throw signal.reason
    })
    startRunner(server, [app])
    const { id } = await server.submit()
    await started.promise
    const { session } = (await server.store.request(id))!.attempt!
    await server.dispatcher.endSession(session, "test")
    expect(await server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 2 })
  })

  test("that the store refuses is made later, and the attempt is not forgotten", async () => {
    let refusals = 1
    const server = await TestServer.open({
      timing: quick,
      wrap: (store: Store) =>
        standIn(store, "endAttempts", (...input) =>
          refusals-- > 0
            ? Promise.reject(new StoreError("full", "full"))
            : store.endAttempts(...input),
        ),
    })
    const peer = await RawPeer.link(server)
    peer.credit()
    const { id } = await server.submit()
    await peer.next("assign")
    peer.cut()
    expect(await server.until(id, ({ state }) => state === "queued")).toMatchObject({ attempts: 1 })
    expect(refusals).toBeLessThan(0)
  })

  test("that meets its own hello leaves no session behind that claims nothing", async () => {
    const server = await TestServer.open()
    const session = newSession()
    const first = await RawPeer.link(server, { session })
    first.cut()
    await server.logged("runner_disconnected")
    const second = new RawPeer(server)
    await second.opened
    // The store resumes the session, and in the same batch it ends.
    const openSession = server.sqlite.openSession.bind(server.sqlite)
    server.sqlite.openSession = (hello) => {
      const resumed = openSession(hello)
      void server.dispatcher.endSession(session, "test")
      return resumed
    }
    second.hello({ session })
    expect(await second.closed).toEqual({ code: 1000, reason: "expired" })
    expect(server.dispatcher.isHosted("acme/echo")).toBe(false)
    await server.submit()
    const third = await RawPeer.link(server)
    third.credit()
    await third.next("assign")
  })
})

/** An accepted attempt, and another one that shares its runner. */
async function linkWithTwo(server: TestServer): Promise<{ peer: RawPeer; ids: string[] }> {
  const peer = await RawPeer.link(server, { slots: 2 })
  peer.credit(2)
  const ids: string[] = []
  for (let slot = 0; slot < 2; slot += 1) {
    ids.push((await server.submit({ noRetry: slot === 0 })).id)
    const { lease } = await peer.next("assign")
    peer.send({ type: "accepted", lease })
  }
  await peer.applied()
  return { peer, ids }
}

describe("a runner that an app has blocked", () => {
  const deaf = { renewEveryMs: 20, acceptMs: 60, graceMs: 50, leaseMs: 60_000, retryMinMs: 60_000 }

  test("is ended when the time and the grace of an attempt are over", async () => {
    const server = await TestServer.open({ timing: { ...deaf, requestTimeoutMs: 100 } })
    const { peer, ids } = await linkWithTwo(server)
    peer.mute = true
    const outcome = { status: 504, errorType: "request_timeout" }
    expect(await server.terminal(ids[0]!)).toMatchObject({ state: "failed", outcome })
    const other = await server.until(ids[1]!, ({ state }) => state === "queued")
    expect(other).toMatchObject({ attempts: 1, attemptsCounted: 1 })
    expect(await peer.closed).toEqual({ code: 1000, reason: "expired" })
    expect(server.endedPids).toEqual([process.pid])
  })

  test("is ended when the grace of a cancel is over", async () => {
    const server = await TestServer.open({ timing: deaf })
    const { peer, ids } = await linkWithTwo(server)
    peer.mute = true
    expect(await server.cancel(ids[0]!)).toBe("requested")
    const outcome = { status: 499, errorType: "client_cancelled", inferenceMs: expect.any(Number) }
    expect(await server.terminal(ids[0]!)).toMatchObject({ state: "cancelled", outcome })
    const other = await server.until(ids[1]!, ({ state }) => state === "queued")
    expect(await server.messages(other)).toEqual([expect.stringContaining("the runner was lost")])
    await peer.closed
    expect(server.endedPids).toEqual([process.pid])
  })

  test("has the whole time of an attempt from when it was begun", async () => {
    const timing = { ...deaf, acceptMs: 300, requestTimeoutMs: 400 }
    const server = await TestServer.open({ timing })
    const peer = await RawPeer.link(server)
    peer.credit()
    const { id } = await server.submit({ noRetry: true })
    const { lease } = await peer.next("assign")
    // It waits in the runner for a while, as one that came without a credit does.
    for (let ping = 0; ping < 8; ping += 1) await peer.next("ping")
    const acceptedAt = performance.now()
    peer.send({ type: "accepted", lease })
    peer.mute = true
    expect(await server.terminal(id)).toMatchObject({ outcome: { errorType: "request_timeout" } })
    expect(performance.now() - acceptedAt).toBeGreaterThan(440)
  })

  test("is left alone as long as it answers: it ends its attempts itself", async () => {
    const server = await TestServer.open({ timing: { ...deaf, requestTimeoutMs: 1 } })
    const { peer, ids } = await linkWithTwo(server)
    // Far more than the time, the grace and the longest silence.
    for (let ping = 0; ping < 20; ping += 1) await peer.next("ping")
    expect(server.endedPids).toEqual([])
    expect((await server.store.request(ids[0]!))?.state).toBe("running")
    peer.mute = true
    await server.terminal(ids[0]!)
  })
})

describe("nobody is judged", () => {
  test("when the server itself was held up for more than half a lease", async () => {
    const server = await TestServer.open({ timing: { ...quick, resumeMs: 60_000 } })
    const session = newSession()
    const cut = await RawPeer.link(server, { session })
    const live = await RawPeer.link(server)
    cut.credit()
    const { id } = await server.submit()
    const { lease } = await cut.next("assign")
    cut.cut()
    await server.logged("runner_disconnected")
    block(2 * quick.leaseMs)
    await live.next("ping")
    await live.next("ping")
    await live.next("ping")
    expect(server.entries.filter(({ event }) => event === "session_ended")).toEqual([])
    const back = await RawPeer.link(server, { session, held: held(lease) })
    back.done(lease)
    expect(await server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 1 })
  })

  test("at a start, before a full resumeMs", async () => {
    const first = await TestServer.open()
    const peer = await RawPeer.link(first)
    peer.credit()
    const { id } = await first.submit()
    await peer.next("assign")
    const folder = await first.crash()
    const server = await TestServer.open({
      folder,
      timing: { ...quick, leaseMs: 50, resumeMs: 400 },
    })
    const startedAt = performance.now()
    await server.until(id, ({ state }) => state === "queued")
    expect(performance.now() - startedAt).toBeGreaterThan(380)
  })
})

test("a runner that does not accept in time is cut, and its attempt goes on", async () => {
  const server = await TestServer.open({ timing: { acceptMs: 100 } })
  const session = newSession()
  const deaf = await RawPeer.link(server, { session })
  deaf.credit()
  const { id } = await server.submit()
  const { lease } = await deaf.next("assign")
  expect(await deaf.closed).toEqual({ code: 1002, reason: "assign not accepted in time" })
  const back = await RawPeer.link(server, { session })
  expect(await back.next("assign")).toMatchObject({ lease, attempt: 1 })
  back.send({ type: "accepted", lease })
  back.done(lease)
  expect(await server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 1 })
})

test("a server that was held up does not cut a runner whose accept it has not read", async () => {
  const server = await TestServer.open({ timing: { leaseMs: 400, resumeMs: 400, acceptMs: 300 } })
  const peer = await RawPeer.link(server)
  peer.credit()
  const { id } = await server.submit()
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  block(600)
  peer.done(lease)
  expect(await server.terminal(id)).toMatchObject({ state: "succeeded" })
  expect(server.entries.filter(({ event }) => event === "runner_disconnected")).toEqual([])
})
