import { randomBytes } from "node:crypto"
import { createConnection } from "node:net"
import { once } from "node:events"
import { afterEach, describe, expect, test } from "vitest"
import { StoreError } from "../../store.ts"
import { closeAll, RawPeer, secret, standIn, TestServer } from "../dispatcher.suite.ts"

afterEach(closeAll)

async function opened(server: TestServer): Promise<RawPeer> {
  const peer = new RawPeer(server)
  await peer.opened
  return peer
}

/** A peer that has nothing to do with what the test does, and must not notice it. */
async function withBystander() {
  const server = await TestServer.open()
  const bystander = await RawPeer.link(server, { apps: ["acme/bystander"] })
  const isUnharmed = async () => {
    await bystander.applied()
    return server.dispatcher.isHosted("acme/bystander")
  }
  return { server, isUnharmed }
}

describe("a peer is refused, and no other notices", () => {
  test("with a wrong secret: 401", async () => {
    const { server, isUnharmed } = await withBystander()
    const stranger = new RawPeer(server, { secret: "0".repeat(secret.length) })
    await expect(stranger.opened).rejects.toThrow("401")
    expect(await isUnharmed()).toBe(true)
  })

  test("with a wrong secret, when it hangs up before it hears so", async () => {
    const { server, isUnharmed } = await withBystander()
    for (let count = 0; count < 20; count += 1) {
      const socket = createConnection(server.socketPath)
      socket.on("error", () => {})
      await once(socket, "connect")
      socket.write(
        "GET /_/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      )
      socket.destroy()
    }
    expect(await isUnharmed()).toBe(true)
  })

  test("when its first frame is no hello: 1002, and a hello after it is not heard", async () => {
    const { server, isUnharmed } = await withBystander()
    const peer = await opened(server)
    peer.credit()
    peer.hello()
    expect(await peer.closed).toEqual({ code: 1002, reason: "the first frame is not a hello" })
    expect(await isUnharmed()).toBe(true)
    expect(server.entries.filter(({ event }) => event === "runner_connected")).toHaveLength(1)
    expect(peer.frames).toEqual([])
  })

  test("when it speaks another version: 1002", async () => {
    const server = await TestServer.open()
    const peer = await opened(server)
    peer.hello({ version: 2 })
    expect((await peer.closed).code).toBe(1002)
  })

  test("for a second hello: 1002, and what follows in the message is not applied", async () => {
    const { server, isUnharmed } = await withBystander()
    const session = randomBytes(16).toString("hex")
    const peer = await RawPeer.link(server, { session })
    await server.submit()
    const runner = { pid: 1, startedAt: "", build: "" }
    const lists = { apps: [], held: [], unacked: [] }
    peer.send(
      { type: "hello", version: 1, session, runner, slots: 1, ...lists },
      { type: "credit", count: 1 },
    )
    expect(await peer.closed).toEqual({ code: 1002, reason: "a second hello" })
    expect(peer.count("assign")).toBe(0)
    expect(await isUnharmed()).toBe(true)
  })

  test("for an event before it has accepted: 1002", async () => {
    const server = await TestServer.open()
    const peer = await RawPeer.link(server)
    peer.credit()
    await server.submit()
    const { lease } = await peer.next("assign")
    peer.log(lease, 1)
    expect(await peer.closed).toEqual({ code: 1002, reason: "event before accepted" })
  })

  test.each([
    ["garbage", (peer: RawPeer) => peer.socket.send(Buffer.from("c1c1c1c1", "hex")), 1002],
    ["text", (peer: RawPeer) => peer.socket.send("[]"), 1002],
    ["nothing", (peer: RawPeer) => peer.socket.send(Buffer.alloc(0)), 1002],
    ["too much", (peer: RawPeer) => peer.socket.send(Buffer.alloc(300_000)), 1009],
  ])("for a message that is %s", async (_, misbehave, code) => {
    const { server, isUnharmed } = await withBystander()
    const peer = await RawPeer.link(server)
    misbehave(peer)
    peer.credit()
    expect((await peer.closed).code).toBe(code)
    expect(await isUnharmed()).toBe(true)
  })

  test("for bytes that are no WebSocket frame", async () => {
    const { server, isUnharmed } = await withBystander()
    const socket = createConnection(server.socketPath)
    socket.write(
      "GET /_/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n` +
        `Authorization: Bearer ${secret}\r\n\r\n`,
    )
    await once(socket, "data")
    socket.write(randomBytes(4_096).fill(0xff, 0, 2))
    socket.resume()
    await once(socket, "close")
    expect(await isUnharmed()).toBe(true)
  })
})

test("a hello that the store cannot take closes that link with 1013; the next one is welcome", async () => {
  let refusals = 1
  const server = await TestServer.open({
    wrap: (store) =>
      standIn(store, "openSession", (hello) =>
        refusals-- > 0 ? Promise.reject(new StoreError("full", "full")) : store.openSession(hello),
      ),
  })
  const peer = await opened(server)
  peer.hello()
  peer.credit()
  expect((await peer.closed).code).toBe(1013)
  await RawPeer.link(server)
})

test("a socket that closes while its hello is answered leaves a detached session", async () => {
  const gate = Promise.withResolvers<void>()
  const server = await TestServer.open({
    wrap: (store) =>
      standIn(store, "openSession", async (hello) => {
        await gate.promise
        return await store.openSession(hello)
      }),
  })
  const peer = await opened(server)
  peer.hello()
  peer.cut()
  await peer.closed
  gate.resolve()
  await server.logged("runner_disconnected")
  expect(server.dispatcher.isHosted("acme/echo")).toBe(false)
})

test("a link is not read while too much waits for a commit, and its session does not expire for it", async () => {
  const gate = Promise.withResolvers<void>()
  let isOpen = false
  const pendingBytesMax = 20_000
  const server = await TestServer.open({
    timing: { eventFlushMs: 1, leaseMs: 200, resumeMs: 200, renewEveryMs: 50 },
    limits: { linkPendingBytesMax: pendingBytesMax },
    wrap: (store) =>
      standIn(store, "appendEvents", (batches) =>
        isOpen ? store.appendEvents(batches) : gate.promise.then(() => store.appendEvents(batches)),
      ),
  })
  const bystander = await RawPeer.link(server, { apps: [] })
  const peer = await RawPeer.link(server)
  peer.credit()
  const { id } = await server.submit()
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  const message = "a".repeat(10_000)
  for (let seq = 1; seq <= 300; seq += 1) {
    const event = { seq, at: 1, kind: "log", level: "INFO", message } as const
    peer.send({ type: "event", lease, event })
  }
  // Long enough for its lease to end, were it judged by what is heard of it.
  for (let pings = 0; pings < 10; pings += 1) await bystander.next("ping")
  const { events } = server.dispatcher
  expect(events.pendingBytes).toBeGreaterThan(pendingBytesMax)
  // What the socket had read when it was paused may come on top.
  expect(events.pendingBytes).toBeLessThan(1_000_000)
  expect(server.entries.filter(({ event }) => event === "session_ended")).toEqual([])
  isOpen = true
  gate.resolve()
  peer.done(lease)
  const ended = await server.terminal(id)
  expect(ended).toMatchObject({ state: "succeeded", attempts: 1 })
  expect(await server.messages(ended)).toHaveLength(300)
  expect(events.pendingBytes).toBe(0)
})
