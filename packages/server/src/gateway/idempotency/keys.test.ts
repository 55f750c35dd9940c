import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { defaultConfig } from "../../config.ts"
import { openTestGateway, type TestGateway, text } from "../gateway.suite.ts"
import { RawConnection } from "./raw-connection.suite.ts"

const absenceMs = 100
let gateway: TestGateway
let keys = 0

beforeAll(async () => {
  const { idempotency } = defaultConfig
  gateway = await openTestGateway({ config: { idempotency: { ...idempotency, absenceMs } } })
})
afterEach(async () => {
  await gateway.clear()
})
afterAll(async () => {
  await gateway.close()
})

const path = "/queue/fal-ai/flux/dev"
const run = "/run/fal-ai/flux/dev"
const json = { "content-type": "application/json" }

function newKey(): Record<string, string> {
  keys += 1
  return { ...json, "idempotency-key": `key-${keys}` }
}

async function blobCount(): Promise<number> {
  let count = 0
  for await (const _ of gateway.parts.blobs.list(-1_000)) count += 1
  return count
}

describe("an idempotency key on the queue", () => {
  it("makes one request of ten submits at once, and answers each with it", async () => {
    const headers = newKey()
    const call = { headers, body: '{"prompt":"a cat"}' }
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => gateway.call("POST", path, call)),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200))
    const ids = new Set(answers.map(({ json: answer }) => answer["request_id"]))
    expect(ids.size).toBe(1)
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(1)
    const [id] = [...ids].map(String)
    for (const { json: answer, headers: told } of answers) {
      expect(answer).toMatchObject({ status: "IN_QUEUE", queue_position: 0 })
      expect(answer["status_url"]).toMatch(`/fal-ai/flux/requests/${id}/status`)
      expect(told["x-fal-request-id"]).toBe(id)
      expect(told["x-tintype-resubmission"]).toBeUndefined()
    }
  })

  it("answers with the URLs of the call that comes again, whatever its options and its webhook", async () => {
    const headers = newKey()
    const first = await gateway.call("POST", path, { headers, body: "{}" })
    const again = await gateway.call("POST", `${path}?fal_max_queue_length=0`, {
      headers: { ...headers, host: `localhost:${gateway.port}`, "x-fal-queue-priority": "low" },
      body: "{}",
    })
    expect(again.json["request_id"]).toBe(first.json["request_id"])
    expect(again.json["status_url"]).toMatch(`http://localhost:${gateway.port}/`)
  })

  it("is refused with 422 for another body, in the API's own shape", async () => {
    const headers = newKey()
    await gateway.call("POST", path, { headers, body: '{"n":1}' })
    const other = await gateway.call("POST", path, { headers, body: '{"n":2}' })
    expect(other.status).toBe(422)
    expect(other.headers["x-fal-error-type"]).toBe("idempotency_key_reused")
    expect(other.headers["x-fal-retryable"]).toBe("false")
    expect(other.json).toEqual({
      detail: "The idempotency key was used before with another body",
      error_type: "idempotency_key_reused",
    })
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(1)
  })

  it("is told by the body's hash when it is large, and the copy's blob is deleted", async () => {
    const headers = newKey()
    const large = JSON.stringify({ image: "x".repeat(100_000) })
    const first = await gateway.call("POST", path, { headers, body: large })
    const before = await blobCount()
    const again = await gateway.call("POST", path, { headers, body: large })
    expect(again.json["request_id"]).toBe(first.json["request_id"])
    expect(await blobCount()).toBe(before)
    const other = large.replace("xx", "xy")
    expect((await gateway.call("POST", path, { headers, body: other })).status).toBe(422)
    const claim = await gateway.claim()
    expect(claim.input).toMatchObject({ bytes: large.length })
    await gateway.settle(claim)
  })

  it("may come as X-Idempotency-Key, but not as two different ones", async () => {
    const headers = newKey()
    const first = await gateway.call("POST", path, { headers, body: "{}" })
    const x = { ...json, "x-idempotency-key": headers["idempotency-key"] ?? "" }
    const again = await gateway.call("POST", path, { headers: x, body: "{}" })
    expect(again.json["request_id"]).toBe(first.json["request_id"])
    const both = { ...headers, "x-idempotency-key": "other" }
    expect((await gateway.call("POST", path, { headers: both, body: "{}" })).status).toBe(400)
    const twice = { ...json, "idempotency-key": ["one", "two"] }
    expect((await gateway.call("POST", path, { headers: twice, body: "{}" })).status).toBe(400)
  })

  it.each([
    ["empty", ""],
    ["longer than 255", "k".repeat(256)],
    ["with a tab", "a\tb"],
    ["not ASCII", "schl\u00fcssel"],
  ])("is refused with 400 when it is %s", async (_, key) => {
    for (const target of [path, run]) {
      const headers = { ...json, "idempotency-key": key }
      const answer = await gateway.call("POST", target, { headers, body: "{}" })
      expect(answer.status).toBe(400)
      expect(answer.json).toEqual({
        detail: "Idempotency-Key must be 1 to 255 printable ASCII characters",
        error_type: "bad_request",
      })
    }
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  })

  it("with a control character or a line break never is a call at all", async () => {
    const connection = await RawConnection.open(gateway.url)
    connection.send("POST", path, { "idempotency-key": "a\u0001b" }, "{}")
    expect((await connection.answer()).status).toBe(400)
    await connection.ended()
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  })
})

describe("an idempotency key on the run door", () => {
  it("lets whoever comes with it wait for the one request, and answers all with its outcome", async () => {
    const headers = newKey()
    const claimed = gateway.claimNext()
    const first = gateway.call("POST", run, { headers, body: "{}" })
    const claim = await claimed
    const second = gateway.call("POST", run, { headers, body: "{}" })
    await gateway.settle(claim, { body: text('{"n":1}') })
    const answers = await Promise.all([first, second])
    const third = await gateway.call("POST", run, { headers, body: "{}" })
    for (const answer of [...answers, third]) {
      expect(answer.status).toBe(200)
      expect(answer.headers["x-fal-request-id"]).toBe(claim.request.id)
      expect(answer.json).toEqual({ n: 1 })
    }
    expect(await gateway.store.queueLength("fal-ai/flux")).toBe(0)
  })

  it("waits for a request of the queue as well, and leaves it alone when it goes", async () => {
    const headers = newKey()
    const submitted = await gateway.call("POST", path, { headers, body: "{}" })
    const connection = await RawConnection.open(gateway.url)
    connection.send("POST", run, headers, "{}")
    const { body } = await gateway.call("POST", run, { headers, body: '{"other":1}' })
    expect(body.toString()).toContain("idempotency_key_reused")
    const waiting = gateway.call("POST", run, { headers, body: "{}" })
    await connection.cut()
    const claim = await gateway.claim()
    await gateway.settle(claim)
    expect((await waiting).headers["x-fal-request-id"]).toBe(submitted.json["request_id"])
    expect(claim.request.id).toBe(submitted.json["request_id"])
  })

  it("keeps the run of a caller who went and comes back", async () => {
    const headers = newKey()
    const claimed = gateway.claimNext()
    const connection = await RawConnection.open(gateway.url)
    connection.send("POST", run, headers, "{}")
    const claim = await claimed
    const logged = gateway.nextEntry()
    await connection.cut()
    expect(await logged).toMatchObject({ event: "request", status: 499 })
    const back = gateway.call("POST", run, { headers, body: "{}" })
    // Nobody else came within the time: were it the first caller's alone, it would end now.
    const other = newKey()
    const lone = await RawConnection.open(gateway.url)
    const abandoned = gateway.committed(
      ({ id, state }) => state === "cancelled" && id !== claim.request.id,
    )
    lone.send("POST", run, other, "{}")
    await gateway.committed(({ state }) => state === "queued")
    await lone.cut()
    expect((await abandoned).outcome?.errorType).toBe("client_disconnected")
    await gateway.settle(claim)
    expect((await back).headers["x-fal-request-id"]).toBe(claim.request.id)
  })

  it("gives up what nobody came back for, and starts anew for who comes then", async () => {
    const headers = newKey()
    const claimed = gateway.claimNext()
    const connection = await RawConnection.open(gateway.url)
    connection.send("POST", run, headers, "{}")
    const claim = await claimed
    const asked = gateway.committed(({ cancelRequest }) => cancelRequest !== null)
    const startedAt = performance.now()
    await connection.cut()
    expect((await asked).cancelRequest?.cause).toBe("client_disconnected")
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(absenceMs - 10)
    const next = gateway.claimNext()
    const again = gateway.call("POST", run, { headers, body: '{"another":"body"}' })
    const second = await next
    expect(second.request.id).not.toBe(claim.request.id)
    await gateway.settle(second)
    expect((await again).status).toBe(200)
    await gateway.settle(claim, { failed: "aborted" })
  })
})
