import { PassThrough } from "node:stream"
import { describe, expect, it } from "vitest"
import { RefusedError } from "./answer.ts"
import { openTestGateway } from "./gateway.suite.ts"
import { withPace } from "./intake.ts"
import { PositionReader, WaiterCount } from "./position-reader.ts"
import { redactTarget } from "./request-log.ts"

async function drain(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

describe("the pace of a body", () => {
  it("passes a body that comes at once", async () => {
    const raw = new PassThrough()
    raw.end("hello")
    expect(await drain(withPace(raw, { graceMs: 10_000, bytesPerSecondMin: 1_024 }))).toBe("hello")
  })

  it("ends a sender that says nothing for longer than it has earned", async () => {
    const raw = new PassThrough()
    raw.write("hello")
    const read = drain(withPace(raw, { graceMs: 30, bytesPerSecondMin: 1_000 }))
    await expect(read).rejects.toThrow(RefusedError)
    const error: unknown = await read.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      answer: { status: 400, headers: { connection: "close" } },
    })
    expect(raw.destroyed).toBe(false)
  })

  it("does not count the time that the reader takes", async () => {
    const raw = new PassThrough()
    const chunks = withPace(raw, { graceMs: 50, bytesPerSecondMin: 1_000_000 })
    raw.write("a")
    await chunks.next()
    const started = performance.now()
    // Busy for longer than the grace: with the clock running, the next chunk would be late.
    while (performance.now() - started < 100);
    raw.end("b")
    expect(await drain(chunks)).toBe("b")
  })

  it("turns a connection that breaks within the body into a refusal", async () => {
    const raw = new PassThrough()
    raw.write("a")
    const read = drain(withPace(raw, { graceMs: 10_000, bytesPerSecondMin: 1_024 }))
    raw.destroy(new Error("aborted"))
    await expect(read).rejects.toThrow(RefusedError)
  })
})

describe("positions", () => {
  it("are asked together, and again only after their time", async () => {
    const gateway = await openTestGateway()
    const ids = [await gateway.submit(), await gateway.submit(), await gateway.submit()]
    const asked: number[] = []
    const counted = {
      positions: (many: string[]) => {
        asked.push(many.length)
        return gateway.store.positions(many)
      },
    }
    const reader = new PositionReader(counted, 30)
    const all = [...ids, ids[0] ?? "", "unknown"]
    expect(await Promise.all(all.map((id) => reader.read(id)))).toEqual([0, 1, 2, 0, null])
    const first = performance.now()
    expect(await Promise.all(ids.map((id) => reader.read(id)))).toEqual([0, 1, 2])
    expect(performance.now() - first).toBeGreaterThan(15)
    expect(asked).toEqual([4, 3])
    await gateway.close()
  })

  it("of a store that fails are told as failed", async () => {
    const gateway = await openTestGateway()
    await gateway.close()
    const reader = new PositionReader(gateway.store, 0)
    const answers = await Promise.allSettled([reader.read("1"), reader.read("2")])
    expect(answers.map(({ status }) => status)).toEqual(["rejected", "rejected"])
  })
})

it("no more wait than may, and a place is free again when one leaves", async () => {
  const waiters = new WaiterCount(1)
  const leave = waiters.enter()
  expect(waiters.enter()).toBeNull()
  expect(await waiters.hold(async () => 1)).toBeNull()
  leave?.()
  leave?.()
  expect(await waiters.hold(async () => 1)).toBe(1)
  expect(waiters.enter()).not.toBeNull()
  expect(waiters.enter()).toBeNull()
})

it.each([
  ["/a/b?x=1", "/a/b?x=1"],
  ["/a?fal_jwt_token=s&logs=1", "/a?fal_jwt_token=redacted&logs=1"],
  ["/a?fal_webhook=https%3A%2F%2Fu:p@h", "/a?fal_webhook=redacted"],
  ["/a?fal%5Fwebhook=https%3A%2F%2Fh", "/a?fal%5Fwebhook=redacted"],
  ["https://u:p@queue.fal.run/a?identity=x", "https://queue.fal.run/a?identity=redacted"],
])("%s is logged as %s", (url, logged) => {
  expect(redactTarget(url)).toBe(logged)
})
