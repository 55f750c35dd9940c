import { afterEach, expect, test } from "vitest"
import { closeAll, rawApp, startRunner, TestServer, Wire } from "../dispatcher.suite.ts"

afterEach(closeAll)

const app = "acme/echo"
const secret = "5ec2e7".repeat(8)

/** Reads the chunks of a request as they come, at the test's speed. */
class Reading {
  readonly read: number[] = []
  readonly #relay: ReturnType<TestServer["dispatcher"]["relay"]["read"]>
  #ring = Promise.withResolvers<void>()

  constructor(server: TestServer, id: string) {
    this.#relay = server.dispatcher.relay.read(id, () => {
      this.#ring.resolve()
      this.#ring = Promise.withResolvers()
    })
  }

  /** Takes chunks until there are so many. */
  async upTo(count: number): Promise<void> {
    while (this.read.length < count) {
      const chunk = this.#relay.next()
      if (chunk === null) {
        await this.#ring.promise
        continue
      }
      this.read.push(Number(Buffer.from(chunk).toString().trim()))
      this.#relay.taken()
    }
  }
}

test("a link that is cut again and again neither loses nor doubles a chunk", async () => {
  const server = await TestServer.open({ inMemory: true })
  const wire = new Wire(server)
  const count = 2_000
  const counting = rawApp(app, async (_, context) => {
    for (let number = 1; number <= count; number += 1) {
      await context.emit(number)
      if (number % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    return Buffer.from("{}")
  })
  startRunner(server, [counting], { target: { socketPath: wire.socketPath, secret } })
  await server.logged("runner_connected")
  const { id } = await server.submit({ door: "stream" })
  const reading = new Reading(server, id)
  for (let cuts = 1; cuts <= 20; cuts += 1) {
    await reading.upTo(cuts * 50)
    wire.cut()
    await server.logged("runner_connected", cuts + 1)
  }
  await reading.upTo(count)
  expect(await server.terminal(id)).toMatchObject({ state: "succeeded", attempts: 1 })
  expect(reading.read).toEqual(Array.from({ length: count }, (_, index) => index + 1))
})

test("an app that awaits goes at the speed of its reader", async () => {
  const server = await TestServer.open({ inMemory: true })
  let emitted = 0
  const eager = rawApp(app, async (_, context) => {
    for (; emitted < 200; emitted += 1) {
      await context.emit(emitted + 1)
      await context.emit(" ".repeat(100_000))
    }
    return Buffer.from("{}")
  })
  startRunner(server, [eager])
  await server.logged("runner_connected")
  const { id } = await server.submit({ door: "stream" })
  const reading = new Reading(server, id)
  for (const count of [100, 200, 400]) {
    await reading.upTo(count)
    // The window of 1 MiB, in chunks of 100 KB and as many small ones, and what is on its way.
    expect(2 * emitted - count).toBeLessThanOrEqual(30)
  }
  expect(await server.terminal(id)).toMatchObject({ state: "succeeded" })
})

test("without a reader an app emits for nothing; through another door it is not asked to", async () => {
  const server = await TestServer.open({ inMemory: true })
  const streaming: boolean[] = []
  const loud = rawApp(app, async (_, context) => {
    streaming.push(context.streaming)
    for (let count = 0; count < 100; count += 1) await context.emit("x".repeat(100_000))
    return Buffer.from("{}")
  })
  startRunner(server, [loud])
  for (const door of ["stream", "run", "queue"] as const) {
    const { id } = await server.submit({ door })
    expect(await server.terminal(id)).toMatchObject({ state: "succeeded", door })
  }
  expect(streaming).toEqual([true, false, false])
})

test("nothing of a stream is stored", async () => {
  const server = await TestServer.open({ inMemory: true })
  const app1 = rawApp(app, async (_, context) => {
    context.log("one")
    await context.emit({ secret: true })
    context.log("two")
    return Buffer.from("{}")
  })
  startRunner(server, [app1])
  const { id } = await server.submit({ door: "stream" })
  const record = await server.terminal(id)
  expect(await server.messages(record)).toEqual(["one", "two"])
  const stored = await server.store.events(record.sequence)
  expect(stored.map(({ event }) => event.seq)).toEqual([1, 2])
})
