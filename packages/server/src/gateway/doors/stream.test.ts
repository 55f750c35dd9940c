import { once } from "node:events"
import { request as httpRequest } from "node:http"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { chunked, openTestGateway, session, type TestGateway, text } from "../gateway.suite.ts"
import { EventReader } from "./event-reader.suite.ts"

let gateway: TestGateway
beforeAll(async () => {
  gateway = await openTestGateway()
})
afterEach(async () => {
  gateway.taken.length = 0
  await gateway.clear()
})
afterAll(async () => {
  await gateway.close()
})

const json = { "content-type": "application/json" }
const path = "/run/fal-ai/flux/dev/stream"

async function open(from: TestGateway, headers: Record<string, string> = {}) {
  const call = { method: "POST", headers: { ...json, ...headers }, body: '{"prompt":"x"}' }
  return await EventReader.open(from.url + path, call)
}

/** A stream whose app has said its first chunk. */
async function begun(from: TestGateway, headers: Record<string, string> = {}) {
  const claimed = from.claimNext()
  const opened = open(from, headers)
  const claim = await claimed
  from.emit(claim, 1, '{"n":1}')
  const reader = await opened
  expect(await reader.nextData()).toBe('{"n":1}')
  return { claim, reader }
}

async function outcomeOf(from: TestGateway, id: string) {
  const record = await from.parts.snapshots.untilTerminal(id, {})
  return record?.outcome?.errorType
}

describe("a stream", () => {
  it.each([path, "/fal-ai/flux/dev/stream"])(
    "tells what the app emits, and its result last [%s]",
    async (streamPath) => {
      const claimed = gateway.claimNext()
      const opened = EventReader.open(gateway.url + streamPath, {
        method: "POST",
        headers: json,
        body: "{}",
      })
      const claim = await claimed
      expect(claim.request).toMatchObject({
        door: "stream",
        endpoint: "fal-ai/flux/dev",
        path: "/dev",
        turn: 0,
      })
      gateway.emit(claim, 1, '{"step": 1, "seed": 12345678901234567890}')
      gateway.emit(claim, 2, '{"step": 2, "mark": "é🌅"}')
      const reader = await opened
      const { statusCode, headers } = reader.incoming
      expect(statusCode).toBe(200)
      expect(headers["content-type"]).toMatch(/^text\/event-stream/)
      expect(headers["x-fal-request-id"]).toBe(claim.request.id)
      expect(await reader.nextData()).toBe('{"step": 1, "seed": 12345678901234567890}')
      expect(await reader.nextData()).toBe('{"step": 2, "mark": "\\u00e9\\ud83c\\udf05"}')
      await gateway.settle(claim, { body: text('{"images": [ ],\n "seed": 12345678901234567890}') })
      expect(await reader.rest()).toEqual(['{"images": [ ],  "seed": 12345678901234567890}'])
      expect(gateway.taken).toEqual([1, 2])
    },
  )

  it("of an app that emits nothing is its result alone", async () => {
    const claimed = gateway.claimNext()
    const opened = open(gateway)
    await gateway.settle(await claimed)
    expect(await (await opened).rest()).toEqual(['{"ok":true}'])
  })

  it("brings a result that is a file, in one line [100 KB of emoji]", async () => {
    const body = JSON.stringify({ text: "🌅".repeat(25_000) })
    const { name, bytes } = await gateway.parts.blobs.write(chunked(Buffer.from(body)))
    const { claim, reader } = await begun(gateway)
    await gateway.settle(claim, { body: { blob: name, bytes } })
    const [result = ""] = await reader.rest()
    expect(JSON.parse(result)).toEqual(JSON.parse(body))
    expect(result).toMatch(/^[\x20-\x7e]*$/)
  })

  it("tells a result that is no JSON as a text", async () => {
    const { claim, reader } = await begun(gateway)
    const result = { headers: { "content-type": "text/plain" }, body: text('a "b"\n🌅') }
    await gateway.settle(claim, result)
    const told = await reader.rest()
    expect(told.map((one) => JSON.parse(one) as unknown)).toEqual(['a "b"\n🌅'])
  })

  it("is found in the queue as any request is", async () => {
    const { claim, reader } = await begun(gateway)
    await gateway.settle(claim)
    await reader.rest()
    const url = `/queue/fal-ai/flux/requests/${claim.request.id}`
    expect((await gateway.call("GET", url)).body.toString()).toBe('{"ok":true}')
    const history = await gateway.call("GET", `/_/requests/${claim.request.id}`)
    expect(history.json).toMatchObject({ door: "stream", state: "succeeded" })
  })

  it("pings before the first event and between two", async () => {
    const quick = await openTestGateway({ timing: { streamPingMs: 20 } })
    const claimed = quick.claimNext()
    const opened = open(quick)
    const claim = await claimed
    const reader = await opened
    expect(await reader.next()).toBe(": ping")
    expect(await reader.next()).toBe(": ping")
    quick.emit(claim, 1, "1")
    expect(await reader.nextData()).toBe("1")
    expect(await reader.next()).toBe(": ping")
    await quick.settle(claim)
    expect(await reader.rest()).toEqual(['{"ok":true}'])
    await quick.close()
  })

  it("is refused with 429 beyond waitersMax, and gives its place back", async () => {
    const small = await openTestGateway({ limits: { waitersMax: 1 } })
    const { claim, reader } = await begun(small)
    const refused = await open(small)
    expect(refused.incoming.statusCode).toBe(429)
    await small.settle(claim)
    await reader.rest()
    const again = await begun(small)
    await small.settle(again.claim)
    await again.reader.rest()
    await small.close()
  })
})

describe("an error", () => {
  it.each([
    [422, '{"detail": [{"loc": ["body", "prompt"], "type": "missing"}]}'],
    [404, '{"detail": "Path not found"}'],
  ])("before the first event is answered as a run's [%i]", async (status, body) => {
    const claimed = gateway.claimNext()
    const answered = gateway.call("POST", path, { headers: json, body: "{}" })
    const claim = await claimed
    await gateway.settle(claim, { status, body: text(body) })
    const answer = await answered
    expect(answer.status).toBe(status)
    expect(answer.headers["content-type"]).toBe("application/json")
    expect(answer.headers["x-fal-request-id"]).toBe(claim.request.id)
    expect(answer.body.toString()).toBe(body)
  })

  it("of a lost attempt before the first event is 503 and may be repeated", async () => {
    const own = await openTestGateway()
    const claimed = own.claimNext()
    const answered = own.call("POST", path, { body: "{}" })
    await claimed
    await own.store.endAttempts(session, "lost")
    const { status, headers } = await answered
    expect([status, headers["x-fal-needs-retry"]]).toEqual([503, "1"])
    await own.close()
  })

  it("of a lost attempt after the first event is the last event", async () => {
    const own = await openTestGateway()
    const { reader } = await begun(own)
    await own.store.endAttempts(session, "lost")
    const [last = ""] = await reader.rest()
    expect(JSON.parse(last)).toMatchObject({
      error: { status: 503, error_type: "runner_disconnected", detail: expect.any(String) },
    })
    await own.close()
  })

  it.each([
    ['{ "detail": [{"input": 12345678901234567890}] }', '[{"input": 12345678901234567890}] '],
    ["{}", undefined],
  ])("of the app after the first event keeps its words [%s]", async (body, detail) => {
    const { claim, reader } = await begun(gateway)
    await gateway.settle(claim, { status: 422, body: text(body) })
    const fields = detail === undefined ? "" : `,"detail": ${detail}`
    expect(await reader.rest()).toEqual([`{"error":{"status":422${fields}}}`])
  })

  it("that is no JSON object is a text in the event", async () => {
    const { claim, reader } = await begun(gateway)
    const failed = { status: 500, headers: { "content-type": "text/plain" }, body: text("oh no") }
    await gateway.settle(claim, failed)
    expect(await reader.rest()).toEqual(['{"error":{"status":500,"detail":"oh no"}}'])
  })

  it("that is too large for an event is told by its status", async () => {
    const body = Buffer.from(`{"detail":"${"x".repeat(40_000)}"}`)
    const { name, bytes } = await gateway.parts.blobs.write(chunked(body))
    const { claim, reader } = await begun(gateway)
    await gateway.settle(claim, { status: 500, body: { blob: name, bytes } })
    expect(await reader.rest()).toEqual([
      expect.stringMatching(/^\{"error":\{"status":500,"detail":"The app's answer is too large/),
    ])
  })

  it("of an endpoint that does not stream is 404 and names the one to call", async () => {
    const answer = await gateway.call("POST", "/run/fal-ai/flux/schnell/stream", { body: "{}" })
    expect(answer.status).toBe(404)
    expect(answer.json).toMatchObject({
      detail: 'Endpoint "fal-ai/flux/schnell" does not stream: call it without /stream',
      run: `POST ${gateway.url}/run/fal-ai/flux/schnell`,
      queue: `POST ${gateway.url}/queue/fal-ai/flux/schnell`,
    })
    const unknown = await gateway.call("POST", "/run/fal-ai/flux/none/stream", { body: "{}" })
    expect([unknown.status, unknown.json["detail"]]).toEqual([404, "Path /none/stream not found"])
    const method = await gateway.call("GET", path)
    expect([method.status, method.headers["allow"]]).toEqual([405, "POST"])
  })
})

it("two thousand idle streams are held, and each gets its result", async () => {
  const own = await openTestGateway({ timing: { streamPingMs: 500 } })
  const count = 2_000
  // Each head comes with a ping, as nobody works on them.
  const readers = await Promise.all(Array.from({ length: count }, () => open(own)))
  for (let pings = 1; pings <= 2; pings += 1) {
    for (const reader of readers) expect(await reader.next()).toBe(": ping")
  }
  for (const claim of await Promise.all(readers.map(() => own.claim()))) {
    own.emit(claim, 1, JSON.stringify(claim.request.id))
    void own.settle(claim)
  }
  for (const reader of readers) {
    const id = JSON.stringify(reader.incoming.headers["x-fal-request-id"])
    expect(await reader.rest()).toEqual([id, '{"ok":true}'])
  }
  await own.close()
})

describe("an endpoint whose own name ends in /stream", () => {
  it.each([
    [["fal-ai/flux/dev/stream"], "stream"],
    [[], "run"],
  ])("is called itself [streams: %j]", async (streams, door) => {
    const own = await openTestGateway()
    const app = await own.store.app("fal-ai/flux")
    const endpoints = ["fal-ai/flux/dev", "fal-ai/flux/dev/stream"]
    await own.store.putApp({ ...app!, endpoints, streams })
    const claimed = own.claimNext()
    const answered = own.call("POST", path, { body: "{}" })
    const claim = await claimed
    expect(claim.request).toMatchObject({ door, path: "/dev/stream" })
    await own.settle(claim)
    expect((await answered).body.toString()).toBe(
      door === "run" ? '{"ok":true}' : 'data: {"ok":true}\n\n',
    )
    await own.close()
  })
})

describe("a caller", () => {
  it("that goes away has its request cancelled, and the app is not held up", async () => {
    const { claim, reader } = await begun(gateway)
    const told = Promise.withResolvers<string>()
    gateway.hints.onCancel((request, reason) => told.resolve(`${request} ${reason}`))
    reader.outgoing.destroy()
    expect(await told.promise).toBe(`${claim.request.id} client_disconnected`)
    await gateway.settle(claim, { failed: "aborted" })
    expect(await outcomeOf(gateway, claim.request.id)).toBe("client_disconnected")
  })

  it("that is gone before the first chunk leaves its place to others", async () => {
    const own = await openTestGateway({ limits: { waitersMax: 1 } })
    const claimed = own.claimNext()
    const outgoing = httpRequest(own.url + path, { agent: false, method: "POST", headers: json })
    const failed = once(outgoing, "error")
    outgoing.end("{}")
    const claim = await claimed
    const cancel = own.store.cancel.bind(own.store)
    // While its request is cancelled, its app goes on.
    own.store.cancel = (cancelled) => {
      own.emit(claim, 1, "1")
      return cancel(cancelled)
    }
    const gone = own.nextEntry()
    outgoing.destroy()
    await failed
    expect(await gone).toMatchObject({ status: 499 })
    await own.settle(claim, { failed: "aborted" })
    const again = await begun(own)
    await own.settle(again.claim)
    expect(await again.reader.rest()).toEqual(['{"ok":true}'])
    await own.close()
  })

  it("that does not read holds its app back, and is cut off when it stalls", async () => {
    const own = await openTestGateway({ timing: { streamStallMs: 300 } })
    const { claim, reader } = await begun(own)
    reader.incoming.socket.pause()
    const chunk = JSON.stringify("x".repeat(256 * 1024))
    // As much as a runner may say without being told that it was taken.
    for (let seq = 2; seq <= 32; seq += 1) own.emit(claim, seq, chunk)
    const cancelled = Promise.withResolvers<void>()
    own.hints.onCancel(() => cancelled.resolve())
    await cancelled.promise
    // What two sockets hold was taken, then nothing until the caller was given up and all was let go of.
    await own.parts.snapshots.untilTerminal(claim.request.id, { timeoutMs: 50 })
    expect(own.taken.length).toBeLessThan(31)
    expect(own.taken.at(-1)).toBe(32)
    await own.settle(claim, { failed: "aborted" })
    await own.close()
  })

  it("that comes again with its key reads on; the one before gets the result alone", async () => {
    const own = await openTestGateway({ timing: { streamPingMs: 20 } })
    const { claim, reader } = await begun(own, { "idempotency-key": "again" })
    // Its head comes with its first ping.
    const second = await open(own, { "idempotency-key": "again" })
    expect(second.incoming.headers["x-fal-request-id"]).toBe(claim.request.id)
    own.emit(claim, 2, "2")
    expect(await second.nextData()).toBe("2")
    await own.settle(claim)
    expect(await second.rest()).toEqual(['{"ok":true}'])
    expect(await reader.rest()).toEqual(['{"ok":true}'])
    await own.close()
  })

  it("that comes again with the key of a run gets its result", async () => {
    const claimed = gateway.claimNext()
    const headers = { ...json, "idempotency-key": "of a run" }
    const run = gateway.call("POST", "/run/fal-ai/flux/dev", { headers, body: '{"prompt":"x"}' })
    const claim = await claimed
    const stream = open(gateway, { "idempotency-key": "of a run" })
    await gateway.settle(claim)
    expect(await (await stream).rest()).toEqual(['{"ok":true}'])
    expect((await run).status).toBe(200)
  })
})
