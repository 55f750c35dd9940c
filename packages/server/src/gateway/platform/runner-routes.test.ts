import { randomBytes, randomUUID } from "node:crypto"
import { request as httpRequest, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { HelloFrame } from "@tintype/protocol"
import { afterEach, describe, expect, test } from "vitest"
import { defaultConfig } from "../../config.ts"
import {
  closeAll,
  RawPeer,
  secret,
  standIn,
  TestServer,
  type TestServerOptions,
} from "../../dispatcher/dispatcher.suite.ts"
import type { NewKey } from "../../store.ts"
import { hashSecret } from "../access/credentials.ts"
import { noLimits } from "../access/key-ring.ts"
import { createGateway } from "../gateway.ts"

/** The gateway's port before a real dispatcher: who gets in, with which key, and what a key's end ends. */

const doors = new Set<Server>()

afterEach(async () => {
  await closeAll()
  for (const door of doors) {
    door.closeAllConnections()
    await new Promise((closed) => door.close(closed))
  }
  doors.clear()
})

const localSecret = "10ca1".repeat(12)

class Door {
  readonly server: TestServer
  readonly port: number

  private constructor(server: TestServer, port: number) {
    this.server = server
    this.port = port
  }

  static async open(options: TestServerOptions & { key?: string } = {}): Promise<Door> {
    const server = await TestServer.open(options)
    const { store, blobs, snapshots, hints, dispatcher, links } = server
    for (const id of ["acme/echo", "acme/paint"]) {
      await store.putApp({ id, endpoints: [id], openapi: {}, metadata: {}, revision: 1 })
    }
    const gateway = createGateway({
      config: { ...defaultConfig, key: options.key ?? null },
      store,
      blobs,
      snapshots,
      events: dispatcher.events,
      hints,
      relay: dispatcher.relay,
      webhookKeys: [],
      localSecret,
      tokenSecret: "",
      runners: links,
      channels: null,
      newId: randomUUID,
      now: Date.now,
      health: () => ({ ready: true, detail: {} }),
      log: () => {},
    })
    doors.add(gateway)
    await new Promise<void>((listening) => gateway.listen(0, "127.0.0.1", listening))
    return new Door(server, (gateway.address() as AddressInfo).port)
  }

  /** A key's `Authorization`, and its id. */
  async key(fields: Partial<NewKey> = {}): Promise<{ id: string; authorization: string }> {
    const id = randomUUID()
    await this.server.store.createKey({
      id,
      secretHash: hashSecret("s"),
      scope: "runner",
      name: "",
      account: "local",
      apps: ["acme/*"],
      limits: noLimits,
      ...fields,
    })
    this.server.hints.keyChanged(id)
    return { id, authorization: `Key ${id}:s` }
  }

  async revoke(id: string, { hint = true } = {}): Promise<void> {
    await this.server.store.revokeKey(id)
    if (hint) this.server.hints.keyChanged(id)
  }

  async dial(authorization: string): Promise<RawPeer> {
    const peer = new RawPeer(this.server, { door: { port: this.port, authorization } })
    await peer.opened
    return peer
  }

  async link(authorization: string, hello: Partial<HelloFrame> = {}): Promise<RawPeer> {
    const peer = await this.dial(authorization)
    peer.hello(hello)
    await peer.next("welcome")
    return peer
  }

  /** An accepted attempt on a runner of this key. */
  async attempt(authorization: string, session = randomBytes(16).toString("hex")) {
    const peer = await this.link(authorization, { session })
    peer.credit()
    const { id } = await this.server.submit({ input: { inline: Buffer.from('"in"') } })
    const { lease } = await peer.next("assign")
    peer.send({ type: "accepted", lease })
    await peer.applied()
    return { peer, id, lease, session }
  }

  async status(path: string, authorization: string, door: object = { port: this.port }) {
    return await new Promise<number>((resolve, reject) => {
      const options = { ...door, path, headers: { authorization }, agent: false }
      const outgoing = httpRequest(options, (incoming) => {
        incoming.resume()
        resolve(incoming.statusCode ?? 0)
      })
      outgoing.on("error", reject).end()
    })
  }
}

describe("who may link", () => {
  test("a runner key with the apps that it is for", async () => {
    const door = await Door.open()
    const one = await door.key({ apps: ["acme/echo"] })
    await door.link(one.authorization, { apps: ["acme/echo"] })
    const peer = await door.dial(one.authorization)
    peer.hello({ apps: ["acme/echo", "acme/paint"] })
    expect(await peer.closed).toEqual({
      code: 1008,
      reason: "this key may not host acme/paint: it is for acme/echo",
    })
    expect(peer.frames).toEqual([])
    expect(door.server.dispatcher.isHosted("acme/paint")).toBe(false)
    await door.server.logged("link_refused")
  })

  test("no app that the server does not know, whoever asks", async () => {
    const door = await Door.open()
    const admin = await door.key({ scope: "admin", apps: [] })
    const peer = await door.dial(admin.authorization)
    peer.hello({ apps: ["acme/echo", `acme/${"é".repeat(200)}`] })
    const { code, reason } = await peer.closed
    expect([code, reason]).toEqual([1008, expect.stringMatching(/^the server has no app acme\/é/)])
    expect(await door.server.store.sessions()).toEqual([])
  })

  test("an admin key and the data folder's secret host all; a key of the scope api nothing", async () => {
    const door = await Door.open()
    const admin = await door.key({ scope: "admin", apps: [] })
    await door.link(admin.authorization)
    await door.link(`Local ${localSecret}`)
    const api = await door.key({ scope: "api", apps: [] })
    await expect(door.dial(api.authorization)).rejects.toThrow("403")
    await expect(door.dial(`Key ${admin.id}:wrong`)).rejects.toThrow("401")
  })

  test("as many as there may be, of a key and in all; one that ends makes room", async () => {
    const door = await Door.open({ limits: { linksPerKeyMax: 2, linksMax: 3 } })
    const [one, other] = [await door.key(), await door.key()]
    const first = await door.link(one.authorization)
    await door.link(one.authorization)
    await expect(door.dial(one.authorization)).rejects.toThrow("429")
    await door.link(other.authorization)
    await expect(door.dial(other.authorization)).rejects.toThrow("429")
    first.cut()
    await door.server.logged("runner_disconnected")
    await door.link(other.authorization)
  })
})

describe("what one key's runner has is closed to another's", () => {
  test("its leases", async () => {
    const door = await Door.open()
    const [one, other] = [await door.key(), await door.key({ scope: "admin", apps: [] })]
    const { lease } = await door.attempt(one.authorization)
    const path = `/_/transfer/${lease}/input`
    expect(await door.status(path, one.authorization)).toBe(200)
    expect(await door.status(path, other.authorization)).toBe(401)
    expect(await door.status(path, `Local ${localSecret}`)).toBe(401)
    const socket = { socketPath: door.server.socketPath }
    expect(await door.status(path, `Bearer ${secret}`, socket)).toBe(401)
    const api = await door.key({ scope: "api", apps: [] })
    expect(await door.status(path, api.authorization)).toBe(403)
  })

  test("its session, which goes on undisturbed", async () => {
    const door = await Door.open()
    const [one, other] = [await door.key(), await door.key()]
    const { peer, id, lease, session } = await door.attempt(one.authorization)
    const thief = await door.dial(other.authorization)
    thief.hello({ session, held: [{ lease, attempt: 1, nextSeq: 1 }] })
    expect((await thief.next("welcome")).abandon).toEqual([lease])
    expect(await thief.closed).toEqual({ code: 1000, reason: "expired" })
    peer.done(lease)
    expect(await door.server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 1 })
  })
})

describe("a key that is revoked", () => {
  test("ends its links, and their attempts go elsewhere at once", async () => {
    const door = await Door.open({ timing: { leaseMs: 60_000, retryMinMs: 1, retryMaxMs: 1 } })
    const [one, other] = [await door.key(), await door.key()]
    const { peer, id, lease } = await door.attempt(one.authorization)
    const next = await door.link(other.authorization)
    next.credit()
    await door.revoke(one.id)
    expect(await peer.closed).toEqual({ code: 1008, reason: "key revoked" })
    const again = await next.next("assign")
    expect(again).toMatchObject({ requestId: id, attempt: 2 })
    expect(await door.status(`/_/transfer/${lease}/input`, one.authorization)).toBe(401)
    next.send({ type: "accepted", lease: again.lease })
    next.done(again.lease)
    expect(await door.server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 2 })
    await expect(door.dial(one.authorization)).rejects.toThrow("401")
  })

  test("ends a link whose hello is being answered", async () => {
    const gate = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const door = await Door.open({
      wrap: (store) =>
        standIn(store, "openSession", async (hello) => {
          asked.resolve()
          await gate.promise
          return await store.openSession(hello)
        }),
    })
    const one = await door.key()
    const peer = await door.dial(one.authorization)
    peer.hello()
    await asked.promise
    await door.revoke(one.id)
    gate.resolve()
    expect((await peer.closed).code).toBe(1008)
    await door.server.logged("session_ended")
    expect(await door.server.store.sessions()).toEqual([])
  })

  test("ends a link that does not answer, within a second", async () => {
    const door = await Door.open()
    const one = await door.key()
    const peer = await door.link(one.authorization)
    peer.socket.pause()
    const revokedAt = performance.now()
    await door.revoke(one.id)
    await door.server.logged("runner_disconnected")
    expect(performance.now() - revokedAt).toBeLessThan(1_000)
    peer.socket.resume()
    expect((await peer.closed).code).toBe(1008)
  })

  test("is noticed when nobody told of it; the setting's key stays", async () => {
    const door = await Door.open({ key: "boot:strap" })
    const one = await door.key()
    const peer = await door.link(one.authorization)
    const kept = await door.link("Key boot:strap")
    await door.revoke(one.id, { hint: false })
    expect((await peer.closed).code).toBe(1008)
    await kept.applied()
  })
})

test("a pid of another machine is no pid here", async () => {
  const door = await Door.open({ timing: { leaseMs: 200, renewEveryMs: 20 } })
  const { server } = door
  const one = await door.key()
  const peer = await door.link(one.authorization)
  expect(server.pids).toEqual([])
  await server.dispatcher.endSessionsWhere((pid) => pid === process.pid)
  await peer.applied()
  peer.mute = true
  expect(await peer.closed).toEqual({ code: 1000, reason: "expired" })
  expect(server.endedPids).toEqual([])
})

test("a server that stops leaves the attempts of other machines to its next life", async () => {
  const door = await Door.open()
  const { server } = door
  const one = await door.key()
  const { peer, id } = await door.attempt(one.authorization)
  const local = await RawPeer.link(server)
  await server.dispatcher.drain(10, new AbortController().signal)
  await local.next("exit")
  expect((await peer.next("drain")).deadlineMs).toBe(10)
  server.links.dismiss()
  expect(await peer.closed).toEqual({ code: 1001, reason: "going away" })
  expect([peer.count("exit"), peer.count("cancel")]).toEqual([0, 0])
  expect(await server.store.request(id)).toMatchObject({ state: "running" })
})
