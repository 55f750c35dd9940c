import { afterEach, describe, expect, test, vi } from "vitest"
import { closeAll, rawApp, startRunner } from "../../dispatcher/dispatcher.suite.ts"
import { hashSecret } from "../access/credentials.ts"
import { noLimits } from "../access/key-ring.ts"
import { mintToken } from "../access/tokens.ts"
import {
  Caller,
  Gate,
  liveApp,
  liveId,
  openDeafSocket,
  openRealtimeServer,
  type RealtimeServer,
  refusedUpgrade,
} from "./realtime.suite.ts"

const path = `/run/${liveId}/realtime`
let opened: RealtimeServer[] = []

async function open(options: Parameters<typeof openRealtimeServer>[0] = {}) {
  const made = await openRealtimeServer(options)
  opened.push(made)
  return made
}

afterEach(async () => {
  for (const one of opened) await one.close()
  opened = []
  await closeAll()
})

/** The line that is logged when a channel is over. */
async function summaryOf({ gateway }: Pick<RealtimeServer, "gateway">) {
  for (;;) {
    const found = gateway.entries.find(({ event }) => event === "channel")
    if (found !== undefined) return found
    await gateway.nextEntry()
  }
}

describe("a channel", () => {
  test("answers each input in the form that it came in", async () => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const caller = await Caller.open(gateway)
    const binary = { n: 1, filler: new Uint8Array(0), request_id: "a" }
    expect(await caller.answer({ n: 1, request_id: "a" })).toEqual(binary)
    caller.sendText('{"n":2}')
    expect(await caller.next()).toEqual({ isText: true, value: { n: 2, filler: "" } })
    expect(await caller.answer({ n: 3 })).toMatchObject({ n: 3 })
    caller.socket.close()
    const wanted = { endpoint: liveId, inputs: 3, outputs: 3, dropped: 0, code: 1005 }
    expect(await summaryOf({ gateway })).toMatchObject(wanted)
  })

  test("goes on after what cannot be read or is not valid", async () => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const caller = await Caller.open(gateway)
    caller.socket.send(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff))
    expect(await caller.next()).toMatchObject({
      isText: true,
      value: { type: "x-fal-error", error: "BAD_REQUEST" },
    })
    caller.sendText("{")
    expect((await caller.next()).value).toMatchObject({ error: "BAD_REQUEST" })
    expect(await caller.answer({ n: "no" })).toMatchObject({ error: "VALIDATION_ERROR" })
    expect(await caller.answer({ n: 4 })).toMatchObject({ n: 4 })
  })

  test("ends with 1011 when the app fails, and says why before", async () => {
    const { gateway, server } = await open()
    const app = liveApp(({ n }) => {
      if (n === 2) throw new Error("the model is gone")
    })
    startRunner(server, [app])
    const caller = await Caller.open(gateway)
    await caller.answer({ n: 1 })
    const error = { type: "x-fal-error", error: "INTERNAL_ERROR", reason: "the model is gone" }
    expect(await caller.answer({ n: 2 })).toEqual(error)
    expect(await caller.closed).toEqual({ code: 1011, reason: "The app failed" })
    // Its slot is free again.
    const next = await Caller.open(gateway)
    expect(await next.answer({ n: 3 })).toMatchObject({ n: 3 })
  })

  test("carries messages of many megabytes, both ways", async () => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const caller = await Caller.open(gateway)
    const filler = new Uint8Array(15 * 1024 * 1024)
    const { n, filler: answered } = await caller.answer({ n: 1, bytes: filler.length, filler })
    expect(n).toBe(1)
    expect((answered as Uint8Array).length).toBe(filler.length)
  })

  test("ends when the app answers more than travels, and nothing else does", async () => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const other = await Caller.open(gateway)
    const caller = await Caller.open(gateway)
    const { error, reason } = await caller.answer({ n: 1, bytes: 16 * 1024 * 1024 })
    expect([error, reason]).toEqual(["INTERNAL_ERROR", expect.stringContaining("larger than")])
    expect(await caller.closed).toMatchObject({ code: 1011 })
    expect(await other.answer({ n: 2 })).toMatchObject({ n: 2 })
  })

  test("ends with 1009 at a message beyond the limit", async () => {
    const { gateway, server } = await open({ limits: { channelMessageBytesMax: 1_000 } })
    startRunner(server, [liveApp()])
    const caller = await Caller.open(gateway)
    caller.send({ n: 1, filler: new Uint8Array(2_000) })
    expect(await caller.closed).toMatchObject({ code: 1009 })
  })

  test("tells the app when its caller is gone", async () => {
    const { gateway, server } = await open()
    const gate = new Gate()
    const aborted = Promise.withResolvers<void>()
    const app = liveApp(async (_, { signal }) => {
      signal.addEventListener("abort", () => aborted.resolve())
      await gate.wait(signal)
    })
    startRunner(server, [app])
    const caller = await Caller.open(gateway)
    caller.send({ n: 1 })
    await gate.arrived
    caller.socket.terminate()
    await aborted.promise
    expect(await summaryOf({ gateway })).toMatchObject({ inputs: 1, outputs: 0 })
  })

  test("has no files: the app is told what to answer instead", async () => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp((_, context) => context.file(new Uint8Array(1), "image/png"))])
    const caller = await Caller.open(gateway)
    const { reason } = await caller.answer({ n: 1 })
    expect(reason).toContain("answer the bytes")
  })
})

describe("inputs that come faster than answers", () => {
  const burst = 10_000

  test("are dropped, the oldest first [ten thousand at once, max_buffering=3]", async () => {
    const made = await open()
    const { gateway, server } = made
    const gate = new Gate()
    startRunner(server, [liveApp(() => gate.wait())])
    const caller = await Caller.open(gateway, `${path}?max_buffering=3`)
    caller.send({ n: 0 })
    await gate.arrived
    for (let n = 1; n <= burst; n += 1) caller.send({ n })
    // A pong comes after all that was sent before its ping was read.
    const pong = new Promise((resolve) => caller.socket.once("pong", resolve))
    caller.socket.ping()
    await pong
    gate.open()
    const answered: unknown[] = []
    for (let count = 0; count < 4; count += 1) answered.push((await caller.next()).value["n"])
    expect(answered).toEqual([0, burst - 2, burst - 1, burst])
    caller.socket.close()
    const wanted = { inputs: burst + 1, outputs: 4, dropped: burst - 3 }
    expect(await summaryOf(made)).toMatchObject(wanted)
  })

  test("take bounded memory without max_buffering, in number and in bytes", async () => {
    const made = await open({ limits: { channelInputsMax: 50, channelInputBytesMax: 100_000 } })
    const { gateway, server } = made
    const gate = new Gate()
    startRunner(server, [liveApp(() => gate.wait())])
    const caller = await Caller.open(gateway)
    caller.send({ n: 0 })
    await gate.arrived
    for (let n = 1; n <= 200; n += 1) caller.send({ n, filler: new Uint8Array(9_900) })
    const pong = new Promise((resolve) => caller.socket.once("pong", resolve))
    caller.socket.ping()
    await pong
    gate.open()
    const answered: unknown[] = []
    for (let count = 0; count < 11; count += 1) answered.push((await caller.next()).value["n"])
    expect(answered).toEqual([0, ...Array.from({ length: 10 }, (_, at) => 191 + at)])
  })

  test.each(["0", "61", "-1", "3.5", "x", ""])("cannot be bounded by %s", async (given) => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const refused = await refusedUpgrade(gateway, `${path}?max_buffering=${given}`)
    expect(refused).toMatchObject({ status: 400, body: { error_type: "bad_request" } })
  })

  test("wait while their caller does not read", async () => {
    const { gateway, server } = await open({ limits: { channelOutputBytesMax: 200_000 } })
    let runs = 0
    startRunner(server, [liveApp(() => (runs += 1))])
    const caller = await Caller.open(gateway)
    caller.socket.pause()
    for (let n = 1; n <= 80; n += 1) caller.send({ n, bytes: 512 * 1024 })
    // Another caller's answers show that the app is not what they wait for.
    const other = await Caller.open(gateway)
    for (let n = 1; n <= 20; n += 1) await other.answer({ n })
    // What the system's own buffers hold of answers is about a dozen megabytes.
    expect(runs - 20).toBeLessThan(50)
    caller.socket.resume()
    const answered: unknown[] = []
    for (let count = 0; count < 80; count += 1) answered.push((await caller.next()).value["n"])
    expect(answered).toEqual(Array.from({ length: 80 }, (_, at) => at + 1))
  })
})

describe("a caller that sends nothing", () => {
  test("is told to connect again, when all that it sent is answered", async () => {
    const { gateway, server } = await open({ row: { idleMs: 50 } })
    const gate = new Gate()
    startRunner(server, [liveApp(({ n }) => (n === 2 ? gate.wait() : undefined))])
    const caller = await Caller.open(gateway)
    await caller.answer({ n: 1 })
    caller.send({ n: 2 })
    await gate.arrived
    // Longer than it may be idle.
    await new Promise((resolve) => setTimeout(resolve, 120))
    gate.open()
    expect((await caller.next()).value).toMatchObject({ n: 2 })
    expect(await caller.next()).toEqual({
      isText: true,
      value: {
        type: "x-fal-error",
        error: "TIMEOUT",
        reason: "no inputs, reconnect when needed!",
      },
    })
    expect(await caller.closed).toEqual({ code: 1000, reason: "" })
  })

  test("is kept as long as it answers pings [five hundred of them]", async () => {
    const made = await open({ timing: { channelPingMs: 300 } })
    const { gateway, server } = made
    startRunner(server, [liveApp()])
    const callers = await Promise.all(Array.from({ length: 500 }, () => Caller.open(gateway)))
    let pings = 0
    const pinged = new Promise<void>((resolve) => {
      for (const { socket } of callers) socket.on("ping", () => ++pings === 1_500 && resolve())
    })
    await pinged
    const answers = await Promise.all(callers.map((caller, n) => caller.answer({ n })))
    expect(answers.map(({ n }) => n)).toEqual(callers.map((_, n) => n))
  })

  test("is dropped when it does not [its network is gone]", async () => {
    const made = await open({ timing: { channelPingMs: 30 } })
    startRunner(made.server, [liveApp()])
    const socket = await openDeafSocket(made.gateway)
    expect(await summaryOf(made)).toMatchObject({ code: 1006 })
    socket.destroy()
  })

  test("is dropped when it speaks and does not read [it pings, and holds on to its answers]", async () => {
    const limits = { channelOutputBytesMax: 200_000 }
    const made = await open({ limits, timing: { channelPingMs: 50 } })
    startRunner(made.server, [liveApp()])
    const caller = await Caller.open(made.gateway)
    caller.socket.pause()
    for (let n = 1; n <= 80; n += 1) caller.send({ n, bytes: 512 * 1024 })
    const speaking = setInterval(() => caller.socket.ping(), 5)
    expect(await summaryOf(made)).toMatchObject({ code: 1006 })
    clearInterval(speaking)
    caller.socket.terminate()
  })
})

describe("who may open a channel", () => {
  const key = "boss:secret"
  const unauthorized = { isText: true, value: { status: "error", error: "Unauthorized" } }

  test.each<[string, string, Record<string, string>]>([
    ["nobody", path, {}],
    ["a wrong key", path, { authorization: "Key boss:wrong" }],
    ["a token that is none", `${path}?fal_jwt_token=x.y.z`, {}],
  ])("is told on the WebSocket, which closes with 1008 [%s]", async (_, where, headers) => {
    const { gateway, server } = await open({ config: { key } })
    startRunner(server, [liveApp()])
    const caller = await Caller.open(gateway, where, { headers })
    expect(await caller.next()).toEqual(unauthorized)
    expect(await caller.closed).toMatchObject({ code: 1008 })
    const known = { headers: { authorization: `Key ${key}` } }
    const boss = await Caller.open(gateway, path, known)
    expect(await boss.answer({ n: 1 })).toMatchObject({ n: 1 })
  })

  test("is told of once, by the log as well", async () => {
    const { gateway } = await open({ config: { key } })
    const caller = await Caller.open(gateway)
    await caller.closed
    const nothing = { inputs: 0, outputs: 0, dropped: 0 }
    expect(await summaryOf({ gateway })).toMatchObject({ endpoint: liveId, code: 1008, ...nothing })
    expect(gateway.entries.filter(({ event }) => event === "request")).toEqual([])
  })

  test("has as many channels as it may have requests: 1013 beyond", async () => {
    const { gateway, server } = await open({ limits: { concurrencyMax: 1 } })
    startRunner(server, [liveApp()])
    await Caller.open(gateway)
    const second = await Caller.open(gateway)
    expect(await second.closed).toMatchObject({ code: 1013 })
  })

  test("opens so many a second: 429 beyond", async () => {
    const { gateway, server } = await open({ limits: { requestsPerSecondMax: 1 } })
    startRunner(server, [liveApp()])
    await Caller.open(gateway)
    const { status, body } = await refusedUpgrade(gateway, path)
    expect([status, body]).toMatchObject([429, { error_type: "request_rate_limit" }])
  })

  test.each([
    ["sec-websocket-key", "x"],
    ["sec-websocket-version", "99"],
  ])("speaks WebSocket: 400 says what is wrong with its %s", async (name, value) => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const headers = {
      connection: "upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      [name]: value,
    }
    const { status, json } = await gateway.call("GET", path, { headers })
    expect([status, json["detail"]]).toEqual([400, expect.stringMatching(new RegExp(name, "i"))])
    const logged = gateway.entries.find(({ event }) => event === "request")
    expect(logged ?? (await gateway.nextEntry())).toMatchObject({ event: "request", status: 400 })
  })

  async function openByToken(apps: string[], seconds: number): Promise<Caller> {
    const { gateway, server } = await open({ config: { key } })
    startRunner(server, [liveApp()])
    const grant = { account: "local", key: "boss", apps }
    const token = await mintToken(gateway.parts, grant, seconds)
    return await Caller.open(gateway, `${path}?fal_jwt_token=${token}&max_buffering=2`)
  }

  test.each([
    ["of the app", "live"],
    ["of the endpoint", `${liveId}/realtime`],
  ])("may come with a token [%s]", async (_, app) => {
    const caller = await openByToken([app], 60)
    expect(await caller.answer({ n: 1 })).toMatchObject({ n: 1 })
  })

  test.each([
    ["of another app", "flux", 60],
    ["of another endpoint", `${liveId}/plain/realtime`, 60],
    ["that has expired", "live", -5],
  ])("may not come with a token %s", async (_, app, seconds) => {
    const caller = await openByToken([app], seconds)
    expect(await caller.next()).toEqual(unauthorized)
    expect(await caller.closed).toMatchObject({ code: 1008 })
  })

  test("holds up nobody of another account, however much it does not read", async () => {
    const limits = { channelBytesMax: 2_000_000, channelBytesPerAccountMax: 1_000_000 }
    const { gateway, server } = await open({ config: { key }, limits })
    let runs = 0
    startRunner(server, [liveApp(() => (runs += 1))])
    const secretHash = hashSecret("secret")
    const other = { id: "other", secretHash, name: "", apps: [], limits: noLimits }
    await gateway.store.createKey({ ...other, scope: "api", account: "other" })
    const deaf = await Caller.open(gateway, path, { headers: { authorization: `Key ${key}` } })
    deaf.socket.pause()
    for (let n = 1; n <= 100; n += 1) deaf.send({ n, bytes: 512 * 1024 })
    // Until what it does not read is all that its account may hold.
    let seen = 0
    const isStill = () => {
      const before = seen
      seen = runs
      expect([runs > 0, runs]).toEqual([true, before])
    }
    await vi.waitFor(isStill, { interval: 300, timeout: 10_000 })
    const known = { headers: { authorization: "Key other:secret" } }
    const caller = await Caller.open(gateway, path, known)
    expect(await caller.answer({ n: 1 })).toMatchObject({ n: 1 })
    expect(runs).toBeLessThan(100)
  })

  test.each(["a key", "a token of it"])("is shown out when its key is revoked [%s]", async (by) => {
    const { gateway, server } = await open({ config: { key } })
    startRunner(server, [liveApp()])
    const made = {
      id: "made",
      secretHash: hashSecret("secret"),
      name: "",
      scope: "api" as const,
      account: "local",
      apps: [],
      limits: noLimits,
    }
    await gateway.store.createKey(made)
    const grant = { account: "local", key: "made", apps: ["live"] }
    const token = await mintToken(gateway.parts, grant, 60)
    const caller =
      by === "a key"
        ? await Caller.open(gateway, path, { headers: { authorization: "Key made:secret" } })
        : await Caller.open(gateway, `${path}?fal_jwt_token=${token}`)
    await caller.answer({ n: 1 })
    await gateway.call("DELETE", "/_/keys/made", { headers: { authorization: `Key ${key}` } })
    expect(await caller.closed).toMatchObject({ code: 1008, reason: "The key was revoked" })
  })

  test("knows an app that there is, an endpoint that is realtime", async () => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const unknown = await refusedUpgrade(gateway, "/run/acme/life/realtime")
    expect(unknown).toEqual({
      status: 404,
      body: { detail: 'Application "acme/life" not found', nearest: liveId },
    })
    const plain = await refusedUpgrade(gateway, `/run/${liveId}/plain/realtime`)
    expect(plain).toMatchObject({ status: 404 })
    expect(plain.body["detail"]).toContain("is not realtime")
  })

  test("is no page of another origin while no key is needed", async () => {
    const { gateway, server } = await open()
    startRunner(server, [liveApp()])
    const refused = await refusedUpgrade(gateway, path, { origin: "https://evil.example" })
    expect(refused.status).toBe(403)
    const rebound = { headers: { host: "evil.example" } }
    expect(await refusedUpgrade(gateway, path, rebound)).toMatchObject({ status: 421 })
  })
})

describe("runners", () => {
  test("may come later: the upgrade waits for one", async () => {
    const { gateway, server } = await open()
    const waits = vi.spyOn(server.dispatcher.channels, "untilHosted")
    const opening = Caller.open(gateway)
    await vi.waitFor(() => expect(waits).toHaveBeenCalled())
    startRunner(server, [liveApp()])
    expect(await (await opening).answer({ n: 1 })).toMatchObject({ n: 1 })
  })

  test("may not come at all: 1013 after a while", async () => {
    const { gateway } = await open({ timing: { channelOpenMs: 30 } })
    const caller = await Caller.open(gateway)
    expect(await caller.closed).toMatchObject({ code: 1013 })
  })

  test("have places for so many channels: 1013 beyond, until one is free", async () => {
    const { gateway, server } = await open({ dispatcher: { limits: { channelsPerRunnerMax: 1 } } })
    startRunner(server, [liveApp()])
    const first = await Caller.open(gateway)
    await first.answer({ n: 1 })
    const second = await Caller.open(gateway)
    expect(await second.closed).toMatchObject({ code: 1013 })
    first.socket.close()
    await first.closed
    await vi.waitFor(async () => {
      const third = await Caller.open(gateway)
      expect(await third.answer({ n: 3 })).toMatchObject({ n: 3 })
    })
  })

  test("leave places to other accounts: 1013 beyond an account's own, until one is free", async () => {
    const { gateway, server } = await open({ limits: { channelsPerAccountMax: 1 } })
    startRunner(server, [liveApp()])
    const first = await Caller.open(gateway)
    await first.answer({ n: 1 })
    const second = await Caller.open(gateway)
    const reason = expect.stringContaining("This account") as string
    expect(await second.closed).toEqual({ code: 1013, reason })
    first.socket.close()
    await vi.waitFor(async () => {
      const third = await Caller.open(gateway)
      expect(await third.answer({ n: 3 })).toMatchObject({ n: 3 })
    })
  })

  test("that are lost take their channels along: 1011", async () => {
    const { gateway, server } = await open()
    const gate = new Gate()
    const runner = startRunner(server, [liveApp(({ n }) => (n === 2 ? gate.wait() : undefined))])
    const caller = await Caller.open(gateway)
    await caller.answer({ n: 1 })
    caller.send({ n: 2 })
    await gate.arrived
    await server.links.close()
    expect(await caller.closed).toMatchObject({ code: 1011 })
    gate.open()
    runner.drain()
  })

  test("that are replaced end their channels with 1013, after the answer under way", async () => {
    const { gateway, server } = await open()
    const gate = new Gate()
    const runner = startRunner(server, [liveApp(() => gate.wait())], { timing: { drainMs: 5_000 } })
    const caller = await Caller.open(gateway)
    const idle = await Caller.open(gateway)
    caller.send({ n: 1 })
    caller.send({ n: 2 })
    await gate.arrived
    runner.drain()
    expect(await idle.closed).toMatchObject({ code: 1013 })
    gate.open()
    expect((await caller.next()).value).toMatchObject({ n: 1 })
    expect(await caller.closed).toMatchObject({ code: 1013 })
    expect(["exit", "drained"]).toContain(await runner.ended)
    expect(caller.received).toHaveLength(1)
  })

  test("whose app does not end when its caller is gone are replaced", async () => {
    const { gateway, server } = await open()
    const gate = new Gate()
    startRunner(server, [liveApp(() => gate.wait())], { timing: { graceMs: 20 } })
    const caller = await Caller.open(gateway)
    caller.send({ n: 1 })
    await gate.arrived
    caller.socket.terminate()
    expect(await server.logged("runner_retired")).toMatchObject({
      why: expect.stringContaining("did not stop"),
    })
    gate.open()
  })

  test("end what takes too long", async () => {
    const { gateway, server } = await open({ dispatcher: { timing: { requestTimeoutMs: 30 } } })
    startRunner(server, [liveApp((_, { signal }) => new Gate().wait(signal))])
    const caller = await Caller.open(gateway)
    expect(await caller.answer({ n: 1 })).toMatchObject({ error: "REQUEST_TIMEOUT" })
    expect(await caller.closed).toMatchObject({ code: 1011 })
  })
})

describe("a server that stops", () => {
  test("closes with 1001, after the answer under way", async () => {
    const { gateway, server } = await open()
    const gate = new Gate()
    startRunner(server, [liveApp(() => gate.wait())])
    const busy = await Caller.open(gateway)
    const idle = await Caller.open(gateway)
    busy.send({ n: 1 })
    busy.send({ n: 2 })
    await gate.arrived
    const drained = server.dispatcher.drain(5_000, new AbortController().signal)
    expect(await idle.closed).toMatchObject({ code: 1001 })
    gate.open()
    expect((await busy.next()).value).toMatchObject({ n: 1 })
    expect(await busy.closed).toMatchObject({ code: 1001 })
    await drained
  })

  test("does not wait for ever for an answer", async () => {
    const { gateway, server } = await open()
    const gate = new Gate()
    startRunner(server, [liveApp(() => gate.wait())])
    const busy = await Caller.open(gateway)
    busy.send({ n: 1 })
    await gate.arrived
    await server.dispatcher.drain(20, new AbortController().signal)
    expect(await busy.closed).toMatchObject({ code: 1001 })
    gate.open()
  })
})

describe("slots", () => {
  test("go to inputs and queued requests in turn, and to one channel after the other", async () => {
    const { gateway, server } = await open()
    const gate = new Gate()
    const order: string[] = []
    const live = liveApp(async ({ n }) => {
      order.push(n < 200 ? "first" : "second")
      if (order.length === 1) await gate.wait()
    })
    const queued = rawApp("acme/echo", (given) => {
      order.push("queue")
      return given
    })
    startRunner(server, [live, queued], { slots: 1 })
    const first = await Caller.open(gateway)
    const second = await Caller.open(gateway)
    first.send({ n: 100 })
    await gate.arrived
    for (let n = 1; n <= 3; n += 1) {
      first.send({ n: 100 + n })
      second.send({ n: 200 + n })
    }
    const requests = await Promise.all([server.submit(), server.submit(), server.submit()])
    for (const one of [first, second]) {
      const pong = new Promise((resolve) => one.socket.once("pong", resolve))
      one.socket.ping()
      await pong
    }
    gate.open()
    for (let count = 0; count < 4; count += 1) await first.next()
    for (let count = 0; count < 3; count += 1) await second.next()
    for (const { id } of requests) await server.terminal(id)
    const channels = order.filter((one) => one !== "queue")
    expect(channels).toEqual(["first", "second", "first", "second", "first", "second", "first"])
    // Never two inputs in a row while a request waits, and the other way round.
    expect(order.slice(1, 7).join(" ")).toMatch(
      /^(queue (first|second) ?){3}$|^((first|second) queue ?){3}$/,
    )
  })

  test("of an exclusive app are a caller's until it goes", async () => {
    const { gateway, server } = await open({ row: { exclusive: true } })
    startRunner(server, [liveApp()], { slots: 1 })
    const first = await Caller.open(gateway)
    await first.answer({ n: 1 })
    const second = await Caller.open(gateway)
    second.send({ n: 2 })
    await first.answer({ n: 3 })
    await first.answer({ n: 4 })
    expect(second.received).toHaveLength(0)
    first.socket.close()
    expect((await second.next()).value).toMatchObject({ n: 2 })
  })
})
