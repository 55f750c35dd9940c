import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { defaultConfig } from "../../config.ts"
import type { Store } from "../../store.ts"
import type { SqliteStore } from "../../stores/sqlite/sqlite-store.ts"
import {
  openTestGateway,
  type TestGateway,
  type TestGatewayOptions,
  text,
} from "../gateway.suite.ts"
import { type RawAnswer, RawConnection } from "./raw-connection.suite.ts"

const path = "/queue/fal-ai/flux/dev"
const app = "fal-ai/flux"
const python = { "user-agent": "fal-client/0.13.1 (python)" }
const javascript = { "user-agent": "@fal-ai/client/1.10.1" }
const curl = { "user-agent": "curl/8.14.1" }
const { resendWindowMs } = defaultConfig.idempotency

let now = 0
let gateway: TestGateway
let controls = 0

async function open(options: TestGatewayOptions = {}): Promise<void> {
  gateway = await openTestGateway({ clock: () => now, ...options })
}

beforeEach(() => {
  now = 1_700_000_000_000
})

afterEach(async () => {
  await gateway.clear()
  await gateway.close()
})

/** Resolves when the store has it that the answer of this request is lost. */
async function lost(id: unknown): Promise<void> {
  const isIt = () =>
    gateway.entries.some((entry) => entry.event === "answer_lost" && entry.requestId === id)
  while (!isIt()) await gateway.nextEntry()
}

/** A submit whose connection ends right behind its answer. */
async function submitAndCut(headers: Record<string, string>, body = "{}"): Promise<RawAnswer> {
  const connection = await RawConnection.open(gateway.url)
  const answer = await connection.call("POST", path, headers, body)
  await connection.cut()
  return answer
}

/** What closed before this was judged when it resolves: a submit that is lost for sure comes after it. */
async function allJudged(): Promise<void> {
  controls += 1
  const control = await submitAndCut(python, JSON.stringify({ control: controls }))
  await lost(control.json["request_id"])
}

describe("a submit whose connection closes behind its answer", () => {
  it.each([python, javascript])("is found by its blind re-send [%o]", async (agent) => {
    await open()
    const first = await submitAndCut(agent)
    expect(first.headers["x-tintype-resubmission"]).toBeUndefined()
    await lost(first.json["request_id"])
    const again = await RawConnection.open(gateway.url)
    const answer = await again.call("POST", path, agent, "{}")
    expect(answer.status).toBe(200)
    expect(answer.headers["x-tintype-resubmission"]).toBe("1")
    expect(answer.json["request_id"]).toBe(first.json["request_id"])
    // Now it is open, and an identical one is somebody's wish for another.
    const other = await again.call("POST", path, agent, "{}")
    expect(other.json["request_id"]).not.toBe(first.json["request_id"])
    await again.cut()
  })

  it("is one request for all ten calls of the Python client's ladder", async () => {
    await open()
    const gaps = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 40]
    const ids: unknown[] = []
    for (const gap of gaps) {
      const answer = await submitAndCut(python)
      ids.push(answer.json["request_id"])
      expect(answer.headers["x-tintype-resubmission"]).toBe(ids.length === 1 ? undefined : "1")
      const count = ids.length
      const marks = () => gateway.entries.filter(({ event }) => event === "answer_lost").length
      while (marks() < count) await gateway.nextEntry()
      now += gap * 1_000
    }
    expect(ids).toHaveLength(10)
    expect(new Set(ids).size).toBe(1)
    expect(await gateway.store.queueLength(app)).toBe(1)
  })

  it("is forgotten when nothing came for the window", async () => {
    await open()
    const first = await submitAndCut(python)
    await lost(first.json["request_id"])
    now += resendWindowMs + 1
    const second = await submitAndCut(python)
    expect(second.json["request_id"]).not.toBe(first.json["request_id"])
  })

  it.each([
    ["another caller's program", curl, {}],
    ["a connection that was to end", { ...python, connection: "close" }, {}],
    ["detection turned off", python, { detectLost: false }],
    ["a program that is not on the list", javascript, { blindResenders: ["ours/"] }],
  ])("is no lost one with %s", async (_, headers, settings) => {
    await open({ config: { idempotency: { ...defaultConfig.idempotency, ...settings } } })
    const ids: unknown[] = []
    for (let count = 0; count < 4; count += 1) {
      ids.push((await submitAndCut(headers)).json["request_id"])
      if (!("detectLost" in settings || "blindResenders" in settings)) await allJudged()
    }
    expect(new Set(ids).size).toBe(4)
  })

  it("is no lost one when the connection carried another call, or closed later", async () => {
    await open()
    const ids: unknown[] = []
    for (const later of [false, true]) {
      const connection = await RawConnection.open(gateway.url)
      const answer = await connection.call("POST", path, python, "{}")
      ids.push(answer.json["request_id"])
      if (later) now += 1_001
      else await connection.call("GET", "/health")
      await connection.cut()
      await allJudged()
    }
    ids.push((await submitAndCut(python)).json["request_id"])
    expect(new Set(ids).size).toBe(3)
  })

  it.each(["/status", "/status/stream", "", "/response", "/cancel", "timeline"])(
    "is no lost one when a call has named it [%s]",
    async (route) => {
      await open()
      for (const namedFirst of [true, false]) {
        const connection = await RawConnection.open(gateway.url)
        const answer = await connection.call("POST", path, python, "{}")
        const id = String(answer.json["request_id"])
        const name = async () => {
          const target =
            route === "timeline" ? `/_/requests/${id}` : `/queue/${app}/requests/${id}${route}`
          const other = await RawConnection.open(gateway.url)
          other.send(route === "/cancel" ? "PUT" : "GET", target, curl)
          if (route === "/status/stream") await gateway.parts.snapshots.get(id)
          else await other.answer()
          await other.cut()
        }
        if (route === "/status/stream") {
          await connection.cut()
          await lost(id)
          const streamed = fetch(`${gateway.url}/queue/${app}/requests/${id}${route}`)
          await (await streamed).body?.cancel()
        } else if (namedFirst) {
          await name()
          await connection.cut()
          await allJudged()
        } else {
          await connection.cut()
          await lost(id)
          await name()
        }
        const next = await submitAndCut(python)
        expect(next.json["request_id"]).not.toBe(id)
        await lost(next.json["request_id"])
        now += resendWindowMs + 1
      }
    },
  )

  it("is found with a large body, whose copy is deleted", async () => {
    await open()
    const body = JSON.stringify({ image: "x".repeat(100_000) })
    const first = await submitAndCut(python, body)
    await lost(first.json["request_id"])
    const again = await submitAndCut(python, body)
    expect(again.json["request_id"]).toBe(first.json["request_id"])
    const names: string[] = []
    for await (const name of gateway.parts.blobs.list(-1_000)) names.push(name)
    expect(names).toHaveLength(1)
  })

  it.each<[string, Record<string, string>, string]>([
    ["other options", { "x-fal-queue-priority": "low" }, path],
    ["another query", {}, `${path}?fal_webhook=http%3A%2F%2F127.0.0.1%2Fhook`],
    ["another endpoint", {}, "/queue/fal-ai/flux/schnell"],
  ])("is not found by a call with %s", async (_, headers, target) => {
    await open()
    const first = await submitAndCut(python)
    await lost(first.json["request_id"])
    const connection = await RawConnection.open(gateway.url)
    const other = await connection.call("POST", target, { ...python, ...headers }, "{}")
    expect(other.status).toBe(200)
    expect(other.json["request_id"]).not.toBe(first.json["request_id"])
    await connection.cut()
  })

  it("is no lost one when it is our own stop that closes connections", async () => {
    await open()
    const connection = await RawConnection.open(gateway.url)
    const answer = await connection.call("POST", path, python, "{}")
    gateway.parts.draining = true
    await connection.cut()
    // None of these can be lost, so what tells that the close was seen is that calls after it were answered.
    for (let count = 0; count < 3; count += 1) await gateway.call("GET", "/health")
    expect((await submitAndCut(python)).json["request_id"]).not.toBe(answer.json["request_id"])
  })

  it("is a run that is over: its outcome is answered again", async () => {
    await open()
    const claimed = gateway.claimNext()
    const connection = await RawConnection.open(gateway.url)
    const answered = connection.call("POST", "/run/fal-ai/flux/dev", python, "{}")
    const claim = await claimed
    await gateway.settle(claim, { body: text('{"n":1}') })
    expect((await answered).json).toEqual({ n: 1 })
    await connection.cut()
    await lost(claim.request.id)
    const again = await gateway.call("POST", "/run/fal-ai/flux/dev", {
      headers: { "content-type": "application/json", ...python },
      body: "{}",
    })
    expect(again.json).toEqual({ n: 1 })
    expect(again.headers["x-fal-request-id"]).toBe(claim.request.id)
    expect(again.headers["x-tintype-resubmission"]).toBe("1")
  })
})

describe("what calls have named", () => {
  it("is written once, with the next write of another kind, and only while it matters", async () => {
    await open()
    const store = gateway.store as SqliteStore
    const poll = (id: string) => gateway.call("GET", `/queue/${app}/requests/${id}/status`)
    const id = await gateway.submit()
    let { commits, operations } = store.counts()
    for (let count = 0; count < 20; count += 1) await poll(id)
    expect(store.counts()).toMatchObject({ commits, operations })
    const second = await gateway.submit()
    expect(store.counts()).toMatchObject({ commits: commits + 1, operations: operations + 2 })
    now += 2 * resendWindowMs
    await poll(id)
    await poll(second)
    ;({ commits, operations } = store.counts())
    await gateway.submit()
    expect(store.counts()).toMatchObject({ commits: commits + 1, operations: operations + 1 })
  })
})

/** The real store, whose word on a submit does not come before it is let go: as from a disk that takes its time. */
function holdSubmits(store: Store) {
  const asked = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const submit: Store["submit"] = async (request) => {
    const submitted = store.submit(request)
    asked.resolve()
    await held.promise
    return await submitted
  }
  const slow = new Proxy(store, {
    get: (target, name) => {
      if (name === "submit") return submit
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === "function" ? value.bind(target) : value
    },
  })
  return { store: slow, asked: asked.promise, letGo: () => held.resolve() }
}

describe("a submit whose connection closes before its answer", () => {
  it("is lost, whoever calls, and found while the first call is still at it", async () => {
    await open()
    const slow = holdSubmits(gateway.store)
    gateway.parts.store = slow.store
    const connection = await RawConnection.open(gateway.url)
    connection.send("POST", path, { ...curl, connection: "close" }, "{}")
    await slow.asked
    await connection.cut()
    while (!gateway.entries.some(({ event }) => event === "answer_lost")) await gateway.nextEntry()
    slow.letGo()
    const again = await submitAndCut(curl)
    expect(again.headers["x-tintype-resubmission"]).toBe("1")
    expect(await gateway.store.queueLength(app)).toBe(1)
  })

  it("is cancelled when it is a run, and the re-send is a new one", async () => {
    await open()
    const claimed = gateway.claimNext()
    const connection = await RawConnection.open(gateway.url)
    connection.send("POST", "/run/fal-ai/flux/dev", python, "{}")
    const claim = await claimed
    const asked = gateway.committed(({ cancelRequest }) => cancelRequest !== null)
    await connection.cut()
    await asked
    const next = gateway.claimNext()
    const again = gateway.call("POST", "/run/fal-ai/flux/dev", {
      headers: { "content-type": "application/json", ...python },
      body: "{}",
    })
    const second = await next
    expect(second.request.id).not.toBe(claim.request.id)
    await gateway.settle(second)
    expect((await again).headers["x-tintype-resubmission"]).toBeUndefined()
    await gateway.settle(claim, { failed: "aborted" })
  })
})
