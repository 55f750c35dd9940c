import { randomBytes } from "node:crypto"
import { afterEach, describe, expect, test } from "vitest"
import type { AssignFrame } from "@tintype/protocol"
import { closeAll, RawPeer, rawApp, startRunner, TestServer } from "./dispatcher.suite.ts"

afterEach(closeAll)

const timing = { retryMinMs: 2, retryMaxMs: 4, dueEveryMs: 60_000 }

/** The next assign, accepted. */
async function take(peer: RawPeer): Promise<AssignFrame> {
  const assign = await peer.next("assign")
  peer.send({ type: "accepted", lease: assign.lease })
  return assign
}

describe("an answer of 503", () => {
  test("has its runner finish what it has, take nothing more, and exit", async () => {
    const server = await TestServer.open({ timing })
    const peer = await RawPeer.link(server, { slots: 3 })
    peer.credit(3)
    const [failing, other] = [await server.submit(), await server.submit()]
    const [first, second] = [await take(peer), await take(peer)]
    peer.done(first.lease, { status: 503 })
    await peer.next("drain")
    const back = await server.until(failing.id, (record) => record.attempts === 1)
    expect(back.outcome).toBeNull()
    // Its third credit is worth nothing any more: both wait for another runner.
    const waiting = await server.submit()
    await peer.applied()
    expect(peer.count("assign")).toBe(2)
    expect(peer.count("exit")).toBe(0)
    peer.done(second.lease)
    await peer.next("exit")
    expect((await server.terminal(other.id)).state).toBe("succeeded")
    startRunner(server, [rawApp("acme/echo", (input) => input)])
    expect((await server.terminal(failing.id)).attempts).toBe(2)
    expect((await server.terminal(waiting.id)).attempts).toBe(1)
    expect(await server.messages(failing)).toEqual([
      expect.stringMatching(
        /^Attempt 1 ended: the app answered with status 503; back in the queue/,
      ),
    ])
  })

  test("leaves the next attempt what the first one left of the request's log", async () => {
    const server = await TestServer.open({ timing, limits: { logBytesMax: 100 } })
    const peer = await RawPeer.link(server)
    const ends: [string, number][] = [
      ["x".repeat(70), 100],
      ["y".repeat(50), 30],
      ["", 0],
    ]
    const { id } = await server.submit()
    for (const [message, room] of ends) {
      peer.credit()
      const { lease, logBytesMax } = await take(peer)
      expect(logBytesMax).toBe(room)
      const event = { seq: 1, at: 1, kind: "log", level: "INFO", message } as const
      peer.send({ type: "event", lease, event })
      peer.done(lease, { status: 504 })
      await peer.next("settled")
    }
    await server.cancel(id)
  })

  test.each([
    [503, { "X-Fal-Stop-Runner": "0" }, 0],
    [200, { "X-Fal-Stop-Runner": "1" }, 1],
    [500, {}, 0],
  ])("or an order ends the runner [%i %o: %i]", async (status, headers, drains) => {
    const server = await TestServer.open({ timing })
    const peer = await RawPeer.link(server)
    peer.credit()
    await server.submit()
    const { lease } = await take(peer)
    peer.done(lease, { status, headers })
    await peer.next("settled")
    await peer.applied()
    expect(peer.count("drain")).toBe(drains)
  })

  test("does not stop one runner after another", async () => {
    const server = await TestServer.open({ timing })
    const drains: number[] = []
    for (let runner = 0; runner < 3; runner += 1) {
      const peer = await RawPeer.link(server)
      await server.submit({ noRetry: true })
      peer.credit()
      const { lease } = await take(peer)
      peer.done(lease, { status: 503 })
      await peer.next("settled")
      await peer.applied()
      drains.push(peer.count("drain"))
      peer.cut()
    }
    expect(drains).toEqual([1, 0, 0])
  })
})

describe("a runner that asks to be replaced", () => {
  test("with nothing to do is told to exit at once", async () => {
    const server = await TestServer.open({ timing })
    const peer = await RawPeer.link(server)
    peer.send({ type: "retire", why: "an app does not end" })
    await peer.next("drain")
    await peer.next("exit")
    const entry = await server.logged("runner_retired")
    expect(entry).toMatchObject({ why: "an app does not end", pid: process.pid })
  })

  test("gets its time, then what is left goes back uncounted", async () => {
    const server = await TestServer.open({ timing: { ...timing, retireMs: 30 } })
    const peer = await RawPeer.link(server)
    peer.credit()
    const { id } = await server.submit()
    const { lease } = await take(peer)
    peer.send({ type: "retire", why: "an app does not end" })
    expect(await peer.next("drain")).toMatchObject({ deadlineMs: 30 })
    expect(await peer.next("cancel")).toMatchObject({ lease, reason: "server_stopping" })
    await peer.next("exit")
    const back = await server.until(id, (record) => record.state === "queued")
    expect(back).toMatchObject({ attempts: 1, attemptsCounted: 0, notBefore: null })
  })

  test("and lost its link meanwhile is told again", async () => {
    const server = await TestServer.open({ timing })
    const session = randomBytes(16).toString("hex")
    const peer = await RawPeer.link(server, { session })
    peer.credit()
    const { id } = await server.submit()
    const { lease } = await take(peer)
    peer.send({ type: "retire", why: "an app does not end" })
    await peer.next("drain")
    peer.cut()
    const again = await RawPeer.link(server, {
      session,
      held: [{ lease, attempt: 1, nextSeq: 1 }],
    })
    await again.next("drain")
    again.done(lease)
    await again.next("exit")
    expect((await server.terminal(id)).state).toBe("succeeded")
  })
})
