import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { ChannelEnd, ChannelMessage, ChannelPeer } from "../../realtime.ts"
import { closeAll, RawPeer, TestServer } from "../dispatcher.suite.ts"

let server: TestServer

beforeEach(async () => {
  server = await TestServer.open({ inMemory: true })
})

afterEach(closeAll)

/** A caller, as the gateway stands for one. */
class TestCaller implements ChannelPeer {
  readonly inputs: ChannelMessage[] = []
  readonly outputs: string[] = []
  readonly ends: ChannelEnd[] = []
  readonly #watchers = new Set<() => void>()

  next(): ChannelMessage | null {
    return this.inputs.shift() ?? null
  }

  output({ data }: ChannelMessage): void {
    this.outputs.push(Buffer.from(data).toString())
    for (const look of this.#watchers) look()
  }

  ended(end: ChannelEnd): void {
    this.ends.push(end)
    for (const look of this.#watchers) look()
  }

  async until(condition: () => boolean): Promise<void> {
    if (condition()) return
    await new Promise<void>((resolve) => {
      this.#watchers.add(() => condition() && resolve())
    })
  }
}

function open(id = "c", more: { exclusive?: boolean } = {}) {
  const peer = new TestCaller()
  const call = { id, app: "acme/echo", endpoint: "acme/echo", path: "/", headers: {}, fileBase: "" }
  const channel = server.dispatcher.channels.open({ ...call, exclusive: false, ...more }, peer)
  if (typeof channel === "string") throw new Error(channel)
  const say = (text: string) => {
    peer.inputs.push({ form: "json", data: Buffer.from(text) })
    channel.announce()
  }
  return { peer, channel, say }
}

async function nextInput(runner: RawPeer): Promise<string> {
  return Buffer.from((await runner.next("input")).data).toString()
}

function output(text: string, channel = "c") {
  return { type: "output", channel, form: "json", data: Buffer.from(text) } as const
}

describe("a channel", () => {
  test("is fed when there is a credit, and not before its last input is answered", async () => {
    const runner = await RawPeer.link(server)
    const { peer, say } = open()
    await runner.next("open")
    say("1")
    await runner.applied()
    expect(runner.count("input")).toBe(0)
    runner.credit()
    expect(await nextInput(runner)).toBe("1")
    say("2")
    runner.credit()
    await runner.applied()
    expect(runner.count("input")).toBe(1)
    runner.send(output("one"))
    await peer.until(() => peer.outputs.length === 1)
    // As the gateway does when it has sent the answer.
    say("3")
    expect(await nextInput(runner)).toBe("2")
  })

  test("that has no input any more leaves its credit to others", async () => {
    const runner = await RawPeer.link(server)
    const { channel } = open()
    channel.announce()
    runner.credit()
    await runner.applied()
    expect(runner.count("input")).toBe(0)
    await server.submit()
    expect(await runner.next("assign")).toMatchObject({ app: "acme/echo" })
  })

  test("that is exclusive spends one credit for all of its inputs", async () => {
    const runner = await RawPeer.link(server)
    const { peer, say } = open("c", { exclusive: true })
    expect(await runner.next("open")).toMatchObject({ exclusive: true })
    runner.credit()
    for (const text of ["1", "2", "3"]) {
      say(text)
      await runner.next("input")
      runner.send(output(text))
      await peer.until(() => peer.outputs.at(-1) === text)
    }
  })

  test("goes to the runner that has the fewest", async () => {
    const first = await RawPeer.link(server)
    const second = await RawPeer.link(server)
    for (const id of ["a", "b", "c", "d"]) open(id)
    await Promise.all([first.applied(), second.applied()])
    expect([first.count("open"), second.count("open")]).toEqual([2, 2])
  })

  test("keeps its place until the runner has said that it is closed", async () => {
    await closeAll()
    server = await TestServer.open({ inMemory: true, limits: { channelsPerRunnerMax: 1 } })
    const runner = await RawPeer.link(server)
    const { channel } = open()
    channel.close()
    await runner.next("close")
    expect(() => open("d")).toThrow("full")
    runner.send({ type: "closed", channel: "c", code: 1000, reason: "" })
    await runner.applied()
    open("d")
  })

  test("that its runner ends is over for its caller, once", async () => {
    const runner = await RawPeer.link(server)
    const { peer, channel } = open()
    runner.send({ type: "closed", channel: "c", code: 1011, reason: "The app failed" })
    await peer.until(() => peer.ends.length > 0)
    channel.close()
    runner.cut()
    await server.logged("runner_disconnected")
    expect(peer.ends).toEqual([{ code: 1011, reason: "The app failed" }])
  })
})

describe("a runner's link", () => {
  test("is the life of its channels [cut, replaced]", async () => {
    const session = "5e55".repeat(8)
    const first = await RawPeer.link(server, { session })
    const cut = open("a")
    first.cut()
    await cut.peer.until(() => cut.peer.ends.length > 0)
    expect(cut.peer.ends).toMatchObject([{ code: 1011 }])
    expect(() => open("b")).toThrow("unhosted")
    await RawPeer.link(server, { session })
    const replaced = open("c")
    await RawPeer.link(server, { session })
    await replaced.peer.until(() => replaced.peer.ends.length > 0)
    expect(replaced.peer.ends).toMatchObject([{ code: 1011 }])
  })

  test("is closed for an output that answers nothing", async () => {
    const runner = await RawPeer.link(server)
    open()
    await runner.next("open")
    runner.send(output("what?"))
    expect(await runner.closed).toEqual({ code: 1002, reason: "output without an input" })
  })

  test("may still carry what is about a channel that is no more", async () => {
    const runner = await RawPeer.link(server)
    const { peer, channel, say } = open()
    runner.credit()
    say("1")
    await runner.next("input")
    channel.close()
    runner.send(output("late"), output("of nobody", "z"))
    runner.send({ type: "closed", channel: "z", code: 1000, reason: "" })
    await runner.applied()
    expect(peer.outputs).toEqual([])
  })
})
