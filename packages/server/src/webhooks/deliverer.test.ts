import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import type { ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { isSignedWebhook, makeWebhookKey, webhookHeaders } from "@tintype/protocol"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { openDiskBlobs } from "../blobs/disk/disk-blobs.ts"
import { systemClock } from "../clock.ts"
import { defaultConfig, type Webhooks } from "../config.ts"
import type { Delivery } from "../domain/delivery.ts"
import type { Body, RequestRecord } from "../domain/request.ts"
import { type Store, StoreError } from "../store.ts"
import { newHello, newLease, newRequest } from "../stores/store.suite.ts"
import { openSqliteStore } from "../stores/sqlite/sqlite-store.ts"
import { Deliverer } from "./deliverer.ts"
import {
  hang,
  late,
  openReceiver,
  type Receiver,
  type Received,
  reset,
  status,
} from "./receiver.suite.ts"

const app = newRequest().app
const key = await makeWebhookKey()

let folder = ""
let store: Store
let blobs: Awaited<ReturnType<typeof openDiskBlobs>>
let entries: Record<string, unknown>[] = []
let listeners: ((changed: RequestRecord[]) => void)[] = []
let logged: (() => void)[] = []
const closing: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-deliverer-"))
  entries = []
  listeners = []
  logged = []
  store = await openSqliteStore({
    path: join(folder, "test.sqlite"),
    limits: defaultConfig.limits,
    onCommit: (changed) => {
      for (const listener of listeners) listener(changed)
    },
    onFreed: () => {},
    onFatal: (error) => {
      throw error
    },
  })
  await store.openSession(newHello("s1"))
  blobs = await openDiskBlobs({ folder: join(folder, "blobs") })
})

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
  await blobs.close()
  await store.close()
  await rm(folder, { recursive: true })
})

async function receiver(...answers: Parameters<typeof openReceiver>): Promise<Receiver> {
  const made = await openReceiver(...answers)
  closing.push(() => made.close())
  return made
}

function startDeliverer(
  settings: Partial<Webhooks> = {},
  parts: { store?: Store; allowPrivate?: boolean } = {},
): Deliverer {
  const deliverer = new Deliverer({
    store,
    blobs,
    key,
    settings: { ...defaultConfig.webhooks, retryBaseMs: 20, ...settings },
    allowPrivate: true,
    clock: systemClock,
    wall: Date.now,
    random: Math.random,
    log: (entry) => {
      entries.push(entry)
      for (const wake of logged.splice(0)) wake()
    },
    ...parts,
  })
  listeners.push((changed) => deliverer.commit(changed))
  deliverer.start()
  closing.push(() => deliverer.close(0))
  return deliverer
}

/** Ends a request that asks for a webhook. */
async function finish(webhook: string, output?: Body, code = 200): Promise<RequestRecord> {
  await store.submit(newRequest({ webhook }))
  const lease = newLease()
  const [claim] = await store.claim({ session: "s1", apps: [app], leases: [lease] })
  if (claim === undefined) throw new Error("nothing was claimed")
  const body = output ?? { inline: Buffer.from('{"seed":18446744073709551615}') }
  const result = { kind: "answered", status: code, headers: {}, body, inferenceMs: 1 } as const
  await store.settle({ lease, session: "s1", result })
  return claim.request
}

async function writeOutput(bytes: number): Promise<Body> {
  const text = JSON.stringify({ data: "x".repeat(bytes) })
  const written = await blobs.write(Readable.from([Buffer.from(text)]))
  return { blob: written.name, bytes: written.bytes }
}

async function deliveryOf({ id }: { id: string }) {
  const known = await store.delivery(id)
  if (known === null) throw new Error(`${id} has no delivery`)
  return known
}

/** Resolves when the delivery is in this state; every try is logged once it is written. */
async function until(request: { id: string }, state: Delivery["state"]) {
  for (;;) {
    const next = new Promise<void>((wake) => logged.push(wake))
    const known = await deliveryOf(request)
    if (known.delivery.state === state) return known
    await next
  }
}

/** Resolves when a first try is written. */
async function untilTried(request: { id: string }): Promise<void> {
  for (;;) {
    const next = new Promise<void>((wake) => logged.push(wake))
    if ((await deliveryOf(request)).tries.length > 0) return
    await next
  }
}

function isSigned({ headers, body }: Received): Promise<boolean> {
  const read = (name: string) => String(headers[name])
  const signed = {
    requestId: read(webhookHeaders.requestId),
    userId: read(webhookHeaders.userId),
    timestamp: read(webhookHeaders.timestamp),
    body,
  }
  return isSignedWebhook(signed, read(webhookHeaders.signature), [key])
}

describe("a delivery", () => {
  it("reaches its receiver once, signed, with the output, and the try is recorded", async () => {
    const to = await receiver(status(200, {}, "thank you"))
    startDeliverer()
    const request = await finish(`${to.url}/hook?token=secret`)
    const { delivery, tries } = await until(request, "delivered")
    expect(delivery).toMatchObject({ tries: 1, nextAt: null })
    expect(tries).toEqual([
      {
        at: expect.any(Number),
        durationMs: expect.any(Number),
        status: 200,
        answer: "thank you",
        error: null,
        detail: null,
      },
    ])
    const [got] = to.received
    expect(got?.url).toBe("/hook?token=secret")
    expect(got?.body.toString()).toBe(
      `{"error": null, "gateway_request_id": "${request.id}", "payload": {"seed":18446744073709551615}, "request_id": "${request.id}", "status": "OK"}`,
    )
    expect(got?.headers).toMatchObject({
      "x-fal-webhook-request-id": request.id,
      "x-fal-webhook-user-id": "local",
    })
    const age = Date.now() / 1_000 - Number(got?.headers["x-fal-webhook-timestamp"])
    expect(Math.abs(age)).toBeLessThan(30)
    expect(got === undefined ? false : await isSigned(got)).toBe(true)
    expect(to.received).toHaveLength(1)
  })

  it("finds its request terminal (the receiver asks)", async () => {
    const seen: string[] = []
    const to = await receiver(async (response) => {
      const [got] = to.received.slice(-1)
      const id = String(got?.headers["x-fal-webhook-request-id"])
      seen.push((await store.request(id))?.state ?? "none")
      response.end()
    })
    startDeliverer()
    const requests = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        finish(to.url, undefined, index % 2 === 0 ? 200 : 422),
      ),
    )
    for (const request of requests) await until(request, "delivered")
    expect(seen.toSorted()).toEqual([
      ...Array.from({ length: 10 }, () => "failed"),
      ...Array.from({ length: 10 }, () => "succeeded"),
    ])
  })

  it("is tried again after 500, a reset, a close and a late answer, with a fresh signature each time", async () => {
    const to = await receiver(status(500), reset, "cut", late(400), status(204))
    startDeliverer({ firstTimeoutMs: 5_000, retryTimeoutMs: 200 })
    const request = await finish(to.url)
    const { tries } = await until(request, "delivered")
    expect(tries.map((made) => [made.status, made.error])).toEqual([
      [500, null],
      [null, "connection"],
      [null, "connection"],
      [null, "timeout"],
      [204, null],
    ])
    expect(await Promise.all(to.received.map(isSigned))).toEqual([true, true, true, true])
    expect(new Set(to.received.map(({ body }) => body.toString())).size).toBe(1)
  })

  it("is given up after the last retry, and goes on when it is sent again", async () => {
    const to = await receiver(status(500), status(503), status(500), status(200))
    const deliverer = startDeliverer({ retriesMax: 2 })
    const request = await finish(to.url)
    const { tries } = await until(request, "exhausted")
    expect(tries.map((made) => made.status)).toEqual([500, 503, 500])
    await store.requeueDelivery(request.id)
    deliverer.wake()
    expect((await until(request, "delivered")).delivery.tries).toBe(4)
  })

  it("fails for good on a redirect, which is not followed", async () => {
    const other = await receiver()
    const to = await receiver(status(302, { location: other.url }))
    startDeliverer()
    expect((await until(await finish(to.url), "failed")).tries).toHaveLength(1)
    expect(other.received).toEqual([])
  })

  it("fails for good when its target is on this machine and that is not allowed", async () => {
    const to = await receiver()
    startDeliverer({}, { allowPrivate: false })
    const { tries } = await until(await finish(to.url), "failed")
    expect(tries).toMatchObject([{ status: null, error: "forbidden_address" }])
    expect(to.received).toEqual([])
  })

  it("carries an output out of a blob, and none that is too large or gone", async () => {
    const to = await receiver()
    startDeliverer({ payloadBytesMax: 100_000 })
    const outputs = [
      await writeOutput(90_000),
      await writeOutput(100_000),
      { blob: randomBytes(16).toString("hex"), bytes: 5 },
    ]
    const told: unknown[] = []
    for (const output of outputs) {
      await until(await finish(to.url, output), "delivered")
      const { payload, payload_error: error } = JSON.parse(
        to.received.at(-1)?.body.toString() ?? "",
      ) as Record<string, unknown>
      told.push([payload, error])
    }
    expect(told).toEqual([
      [{ data: "x".repeat(90_000) }, undefined],
      [null, expect.stringMatching(/too large/)],
      [null, expect.stringMatching(/not kept/)],
    ])
  })

  it("leaves no secret of its URL in the log", async () => {
    const to = await receiver(status(500), hang)
    startDeliverer()
    await finish(`${to.url.replace("//", "//me:hidden@")}/hook?token=hidden`)
    await to.count(2)
    expect(entries).toMatchObject([{ event: "webhook", state: "pending", status: 500, try: 1 }])
    expect(JSON.stringify(entries)).not.toContain("hidden")
  })

  it("logs the beginning of a long URL", async () => {
    const to = await receiver(status(200))
    startDeliverer()
    const url = `${to.url}/${"x".repeat(3_000)}`
    await until(await finish(url), "delivered")
    expect(entries).toMatchObject([{ event: "webhook", url: url.slice(0, 512) }])
  })
})

describe("receivers that hang", () => {
  it("delay nobody: 10 of 50, with more to tell them than they may be told at a time", async () => {
    const hanging = await Promise.all(Array.from({ length: 10 }, () => receiver(hang)))
    const healthy = await Promise.all(Array.from({ length: 40 }, () => receiver()))
    const stuck = []
    for (const { url } of hanging) {
      for (let count = 0; count < 20; count += 1) stuck.push(await finish(url))
    }
    startDeliverer({ triesPerOriginMax: 4, triesMax: 64 })
    await Promise.all(hanging.map((one) => one.count(4)))
    const requests = []
    for (const { url } of healthy) {
      for (let count = 0; count < 3; count += 1) requests.push(await finish(url))
    }
    // Of those who hang no try has ended, or they would not be the test of anything.
    for (const request of requests) await until(request, "delivered")
    for (const request of stuck) expect((await deliveryOf(request)).tries).toEqual([])
    for (const one of hanging) expect(one.received).toHaveLength(4)
  })

  it("do not stand before the retries of others, however many of theirs are overdue", async () => {
    const settings = { triesMax: 8, triesPerOriginMax: 4, firstTimeoutMs: 100 }
    const hanging = await Promise.all(Array.from({ length: 4 }, () => receiver(hang)))
    const stuck = []
    for (const { url } of hanging) {
      for (let count = 0; count < 9; count += 1) stuck.push(await finish(url))
    }
    startDeliverer(settings)
    // Every first try is over: what follows hangs for long, and as much as one look takes in waits behind it.
    for (const request of stuck) await untilTried(request)
    const flaky = await receiver(status(500), status(200))
    const { tries } = await until(await finish(flaky.url), "delivered")
    expect(tries.map((made) => made.status)).toEqual([500, 200])
  })

  it("are told one thing at a time once they have taken all of a try's time", async () => {
    const to = await receiver(hang)
    for (let count = 0; count < 6; count += 1) await finish(to.url)
    startDeliverer({ triesPerOriginMax: 4, firstTimeoutMs: 300, retryBaseMs: 60_000 })
    const received = await to.count(6)
    const [, , , fourth, fifth, sixth] = received.map(({ at }) => at)
    expect((fifth ?? 0) - (fourth ?? 0)).toBeGreaterThan(200)
    expect((sixth ?? 0) - (fifth ?? 0)).toBeGreaterThan(200)
  })
})

describe("many to one receiver", () => {
  it("that answers at once go out more at a time, up to the bound, over as many connections", async () => {
    const held: ServerResponse[] = []
    const to = await receiver((response) => {
      if (to.received.length <= 100) response.end()
      else held.push(response)
    })
    const requests = []
    for (let count = 0; count < 150; count += 1) requests.push(await finish(to.url))
    startDeliverer({ triesPerOriginMax: 2, triesPerQuickOriginMax: 10, quickMs: 10_000 })
    for (const total of [110, 120, 130, 140, 150]) {
      await to.count(total)
      expect(held).toHaveLength(10)
      for (const response of held.splice(0)) response.end()
    }
    for (const request of requests) await until(request, "delivered")
    expect(to.received).toHaveLength(150)
    expect(new Set(to.received.map(({ port }) => port)).size).toBeLessThanOrEqual(10)
  })

  it("that is not so quick stay as they are", async () => {
    let open = 0
    let most = 0
    const to = await receiver((response) => {
      open += 1
      most = Math.max(most, open)
      setTimeout(() => {
        open -= 1
        response.end()
      }, 30)
    })
    const requests = []
    for (let count = 0; count < 20; count += 1) requests.push(await finish(to.url))
    startDeliverer({ triesPerOriginMax: 2, quickMs: 10 })
    for (const request of requests) await until(request, "delivered")
    expect(most).toBe(2)
  })

  it("hide none of another's, however many they are and however little is held", async () => {
    const [busy, hanging, other] = [await receiver(), await receiver(hang), await receiver()]
    for (let count = 0; count < 40; count += 1) {
      await finish(hanging.url)
      await finish(busy.url)
    }
    startDeliverer({ triesMax: 4, triesPerOriginMax: 1, triesPerQuickOriginMax: 2 })
    await hanging.count(1)
    const last = await finish(other.url)
    await until(last, "delivered")
    await busy.count(40)
    expect(hanging.received).toHaveLength(1)
  })
})

describe("across lives", () => {
  it("a try cut short by a stop is made again by the next life", async () => {
    const to = await receiver(hang, status(200))
    const first = startDeliverer()
    const request = await finish(to.url)
    await to.count(1)
    await first.close(0)
    expect((await deliveryOf(request)).tries).toEqual([])
    startDeliverer()
    expect((await until(request, "delivered")).tries).toHaveLength(1)
    expect(to.received).toHaveLength(2)
  })

  it("a stop waits for a try that ends within its grace", async () => {
    const asked = Promise.withResolvers<ServerResponse>()
    const to = await receiver((response) => asked.resolve(response))
    const deliverer = startDeliverer()
    const request = await finish(to.url)
    const response = await asked.promise
    const closed = deliverer.close(10_000)
    response.end()
    await closed
    expect((await deliveryOf(request)).delivery.state).toBe("delivered")
  })

  it("what was due before the start is found without a hint", async () => {
    const to = await receiver()
    const request = await finish(to.url)
    startDeliverer()
    expect((await until(request, "delivered")).tries).toHaveLength(1)
  })
})

it("a try that cannot be written is not made again until it is (a full disk)", async () => {
  const to = await receiver()
  let failures = 1
  const failing = Object.create(store) as Store
  failing.recordTry = async (made) => {
    if (failures-- > 0) throw new StoreError("full", "No space is left")
    return await store.recordTry(made)
  }
  failing.dueDeliveries = (order) => store.dueDeliveries(order)
  failing.request = (id) => store.request(id)
  failing.body = (sequence, kind) => store.body(sequence, kind)
  const deliverer = startDeliverer({ pollEveryMs: 20 }, { store: failing })
  const request = await finish(to.url)
  await to.count(1)
  deliverer.wake()
  await until(request, "delivered")
  expect(to.received).toHaveLength(1)
  expect(entries.map(({ event }) => event)).toEqual(["webhook_unrecorded", "webhook"])
})
