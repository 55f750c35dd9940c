import {
  packMessage,
  type ClosedFrame,
  type GatewayFrame,
  type OutputFrame,
} from "@tintype/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { HostedApp, MessageAnswer } from "../attempt/app-host.ts"
import { FakeGateway } from "../fake-gateway.suite.ts"
import { Runner, type RunnerOptions } from "../runner.ts"

let gateway: FakeGateway
const runners: Runner[] = []

beforeEach(async () => {
  gateway = new FakeGateway()
  await gateway.start()
})

afterEach(async () => {
  for (const runner of runners.splice(0)) {
    runner.drain()
    gateway.send({ type: "exit" })
  }
  await gateway.close()
})

async function start(app: HostedApp, options: Partial<RunnerOptions> = {}): Promise<Runner> {
  const runner = new Runner({
    target: { socketPath: gateway.socketPath, secret: gateway.secret },
    slots: 1,
    apps: [app],
    identity: { pid: process.pid, startedAt: "now", build: "test" },
    allowPrivateTargets: false,
    ...options,
    timing: { redialMinMs: 1, redialMaxMs: 20, drainMs: 50, ...options.timing },
  })
  runners.push(runner)
  runner.start()
  await gateway.until(() => gateway.credits > 0, "credits")
  return runner
}

/** An app that waits, for each input, until the test lets it go on; it heeds its signal unless told otherwise. */
class Live {
  readonly signals: AbortSignal[] = []
  readonly #waiting: ((answer: MessageAnswer) => void)[] = []
  readonly #heeds: boolean

  constructor(heeds = true) {
    this.#heeds = heeds
  }

  readonly app: HostedApp = {
    id: "local/live",
    respond: () => Promise.reject(new Error("not asked for")),
    respondMessage: async (_, { signal }) => {
      const { promise, resolve, reject } = Promise.withResolvers<MessageAnswer>()
      this.signals.push(signal)
      this.#waiting.push(resolve)
      if (this.#heeds) signal.addEventListener("abort", () => reject(new Error("stopped")))
      return await promise
    },
  }

  finish(failed = false): void {
    this.#waiting.shift()?.({ form: "json", data: Buffer.from("{}"), failed })
  }
}

function open(fields: Partial<Extract<GatewayFrame, { type: "open" }>> = {}): void {
  gateway.send({
    type: "open",
    channel: "c",
    app: "local/live",
    endpoint: "local/live",
    path: "/",
    headers: {},
    fileBase: "http://127.0.0.1:3250/files",
    exclusive: false,
    timeoutMs: 60_000,
    ...fields,
  })
}

function input(channel = "c"): void {
  gateway.credits -= 1
  gateway.send({ type: "input", channel, form: "msgpack", data: packMessage({}) })
}

const outputs = () =>
  gateway.frames.filter((frame): frame is OutputFrame => frame.type === "output")
const closed = () => gateway.frames.filter((frame): frame is ClosedFrame => frame.type === "closed")
const isWorking = (live: Live, count = 1) => live.signals.length >= count

describe("a channel's slot", () => {
  test("is free again after the output, which comes in one message with the credit", async () => {
    const live = new Live()
    await start(live.app)
    open()
    input()
    await gateway.until(() => gateway.credits === 0)
    await waitFor(() => isWorking(live))
    live.finish()
    await gateway.until(() => gateway.credits === 1)
    expect(outputs()).toMatchObject([{ channel: "c", form: "json" }])
    expect(gateway.messages.at(-1)).toEqual(["output", "credit"])
  })

  test("stays an exclusive channel's until it ends", async () => {
    const live = new Live()
    await start(live.app)
    open({ exclusive: true })
    input()
    await waitFor(() => isWorking(live))
    live.finish()
    await gateway.until(() => outputs().length === 1)
    expect(gateway.credits).toBe(0)
    gateway.credits += 1
    input()
    await waitFor(() => isWorking(live, 2))
    live.finish()
    await gateway.until(() => outputs().length === 2)
    gateway.send({ type: "close", channel: "c" })
    await gateway.until(() => gateway.credits === 1)
    expect(closed()).toMatchObject([{ channel: "c", code: 1000 }])
  })

  test("is given back for an input of a channel that has ended", async () => {
    await start(new Live().app)
    input("nobody")
    await gateway.until(() => gateway.credits === 1)
    expect(outputs()).toEqual([])
  })

  test("is free when an app that fails has ended its channel", async () => {
    const live = new Live()
    await start(live.app)
    open()
    input()
    await waitFor(() => isWorking(live))
    live.finish(true)
    await gateway.until(() => gateway.credits === 1)
    expect(gateway.messages.at(-1)).toEqual(["output", "closed", "credit"])
    expect(closed()).toMatchObject([{ code: 1011 }])
  })
})

describe("the end of a channel", () => {
  test("aborts the app, and is confirmed when the app has ended", async () => {
    const live = new Live()
    await start(live.app)
    open()
    input()
    await waitFor(() => isWorking(live))
    gateway.send({ type: "close", channel: "c" })
    await gateway.until(() => closed().length === 1)
    expect(live.signals[0]?.aborted).toBe(true)
    await gateway.until(() => gateway.credits === 1)
    expect(outputs()).toEqual([])
  })

  test("of an app that does not end costs the runner, and the slot stays taken", async () => {
    const live = new Live(false)
    await start(live.app, { slots: 2, timing: { graceMs: 10 } })
    open()
    input()
    await waitFor(() => isWorking(live))
    gateway.send({ type: "close", channel: "c" })
    await gateway.until(() => gateway.frames.some(({ type }) => type === "retire"))
    expect(closed()).toHaveLength(1)
    expect(gateway.credits).toBe(1)
    live.finish()
  })

  test("comes with its link: the app is aborted, and the next link knows nothing of it", async () => {
    const live = new Live()
    await start(live.app)
    open()
    input()
    await waitFor(() => isWorking(live))
    gateway.cut()
    await gateway.until(() => gateway.credits === 1)
    expect(live.signals[0]?.aborted).toBe(true)
    expect(closed()).toEqual([])
  })
})

test.each<[string, () => void]>([
  ["an input without a credit", () => [open(), input(), open({ channel: "d" }), input("d")]],
  ["an input before the output of the last", () => [open(), input(), input()]],
])("a gateway that breaks the rules is hung up on [%s]", async (_, act) => {
  await start(new Live().app)
  act()
  await gateway.until(() => gateway.closes.length > 0)
  expect(gateway.closes[0]?.code).toBe(1002)
})

test("an app that hosts no messages says so", async () => {
  await start({ id: "local/live", respond: () => Promise.reject(new Error("no")) })
  open()
  input()
  await gateway.until(() => closed().length === 1)
  const told = JSON.parse(Buffer.from(outputs()[0]?.data ?? []).toString()) as object
  expect(told).toMatchObject({ type: "x-fal-error", error: "NOT_FOUND" })
})

/** What happens in this process alone, of which no frame tells. */
async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((next) => setImmediate(next))
}
