import { setImmediate } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeliveryTry } from "../domain/delivery.ts"
import type { AttemptResult, Claim, NewRequest, Store } from "../store.ts"
import { bytes, newHello, newLease, newRequest, type OpenStore } from "./store.suite.ts"

const app = newRequest().app
const webhook = "https://example.com/hook?token=1"
const policy = { retriesMax: 2, retryBaseMs: 1_000, retryDelayMaxMs: 60_000 }

/** The laws of `store.ts` about webhooks, for every adapter. */
export function describeDeliveries(name: string, open: OpenStore): void {
  describe(`store, deliveries: ${name}`, () => {
    let now = 1_000_000
    let store: Store

    beforeEach(async () => {
      now = 1_000_000
      store = (await open({ clock: () => now })).store
      await store.openSession(newHello("s1"))
    })

    afterEach(async () => {
      await store.close()
    })

    async function start(fields: Partial<NewRequest> = {}): Promise<Claim> {
      await store.submit(newRequest({ webhook, ...fields }))
      const [claim] = await store.claim({ session: "s1", apps: [app], leases: [newLease()] })
      if (claim === undefined) throw new Error("Nothing was claimed")
      return claim
    }

    async function settle({ request }: Claim, status = 200) {
      const body = { inline: bytes('{"ok":true}') }
      const result: AttemptResult = {
        kind: "answered",
        status,
        headers: {},
        body,
        inferenceMs: 1,
      }
      const lease = request.attempt?.lease ?? ""
      return await store.settle({ lease, session: "s1", result })
    }

    /** A request that is over and owes a delivery. */
    async function finish(fields: Partial<NewRequest> = {}) {
      const claim = await start(fields)
      await settle(claim)
      return claim.request
    }

    function due(limit = 100, perOrigin = 100, except: string[] = []) {
      return store.dueDeliveries({ now, limit, perOrigin, except })
    }

    async function dueIds(...order: Parameters<typeof due>): Promise<string[]> {
      return (await due(...order)).map(({ delivery }) => delivery.request)
    }

    function tried(sequence: number, number: number, fields: Partial<DeliveryTry> = {}) {
      const none = { status: null, answer: "", error: null, detail: null }
      const made = { at: now, durationMs: 5, ...none, ...fields }
      return store.recordTry({ sequence, number, made, policy, random: 0.5 })
    }

    test("a completion and its delivery commit together, and there is none before", async () => {
      const claim = await start()
      const { id, sequence } = claim.request
      expect(claim.request.webhook).toBe(webhook)
      expect(await store.delivery(id)).toBeNull()
      expect(await due()).toEqual([])
      now += 10
      const settled = settle(claim)
      const [, request, delivery] = await Promise.all([
        settled,
        settled.then(() => store.request(id)),
        settled.then(() => store.delivery(id)),
      ])
      expect(request?.state).toBe("succeeded")
      expect(delivery).toEqual({
        delivery: {
          sequence,
          request: id,
          account: "local",
          url: webhook,
          origin: "https://example.com",
          state: "pending",
          tries: 0,
          triesInRound: 0,
          nextAt: 0,
          createdAt: now,
          finishedAt: null,
        },
        tries: [],
      })
      expect(await due()).toEqual([{ delivery: delivery?.delivery, payloadBytes: 11 }])
    })

    test("no read ever sees the one without the other", async () => {
      const claims = []
      for (let count = 0; count < 40; count += 1) claims.push(await start())
      const settling = claims.map((claim) => settle(claim))
      const torn: string[] = []
      let owed = 0
      while (owed < claims.length) {
        // A read of a file is answered at once: without a turn of the event loop nothing would ever commit.
        await setImmediate()
        owed = 0
        for (const { request } of claims) {
          const before = await store.delivery(request.id)
          const over = (await store.request(request.id))?.state === "succeeded"
          const after = await store.delivery(request.id)
          if ((before !== null && !over) || (over && after === null)) torn.push(request.id)
          if (after !== null) owed += 1
        }
      }
      expect(torn).toEqual([])
      await Promise.all(settling)
    })

    test("a request that names no webhook owes nothing", async () => {
      const { id } = await finish({ webhook: null })
      expect(await store.delivery(id)).toBeNull()
      expect(await store.delivery("unknown")).toBeNull()
      expect(await due()).toEqual([])
    })

    test("every end owes one: failed, cancelled while queued or running, never run, lost, a restart", async () => {
      const failed = await start()
      await settle(failed, 422)
      const removed = await store.submit(newRequest({ webhook }))
      await store.cancel({ id: removed.id, cause: "client_cancelled" })
      const stopped = await start()
      await store.cancel({ id: stopped.request.id, cause: "client_cancelled" })
      expect(await store.delivery(stopped.request.id)).toBeNull()
      const aborted = { kind: "failed", reason: "aborted", detail: "", inferenceMs: 1 } as const
      const lease = stopped.request.attempt?.lease ?? ""
      await store.settle({ lease, session: "s1", result: aborted })
      const unfit = await store.submit(newRequest({ webhook }))
      await store.failQueued(unfit.id, "runner_scheduling_failure")
      const lost = await start({ door: "run" })
      await store.endAttempts("s1", "lost")
      const over = await store.submit(newRequest({ webhook, door: "run" }))
      await store.recover()
      const ended = [failed.request, removed, stopped.request, unfit, lost.request, over]
      expect(await dueIds()).toEqual(ended.map(({ id }) => id))
    })

    test("an attempt that goes back to the queue owes nothing yet", async () => {
      const { request } = await start()
      await store.endAttempts("s1", "stopped")
      expect((await store.request(request.id))?.state).toBe("queued")
      expect(await store.delivery(request.id)).toBeNull()
    })

    test("the same outcome written twice owes one delivery", async () => {
      const claim = await start()
      expect([await settle(claim), await settle(claim)]).toEqual(["settled", "repeated"])
      expect(await dueIds()).toEqual([claim.request.id])
    })

    test("a try is written with what it makes of the delivery, and is due again in its time", async () => {
      const { id, sequence } = await finish()
      const after = await tried(sequence, 1, { status: 500, answer: "no", durationMs: 7 })
      expect(after).toMatchObject({ state: "pending", tries: 1, nextAt: now + 1_007 })
      expect((await store.delivery(id))?.tries).toEqual([
        { at: now, durationMs: 7, status: 500, answer: "no", error: null, detail: null },
      ])
      now += 1_006
      expect(await due()).toEqual([])
      now += 1
      expect(await dueIds()).toEqual([id])
      const refused = { error: "connection", detail: "ECONNREFUSED" } as const
      await tried(sequence, 2, refused)
      expect(await tried(sequence, 3, { status: 204 })).toMatchObject({ state: "delivered" })
      const known = await store.delivery(id)
      expect(known?.delivery).toMatchObject({ state: "delivered", tries: 3, nextAt: null })
      expect(known?.tries.map(({ status, error }) => [status, error])).toEqual([
        [500, null],
        [null, "connection"],
        [204, null],
      ])
      now += 1e9
      expect(await due()).toEqual([])
    })

    test("a try is written once, and none of a delivery that does not exist", async () => {
      const { id, sequence } = await finish()
      await tried(sequence, 1, { status: 500 })
      expect(await tried(sequence, 1, { status: 200 })).toBe("repeated")
      expect(await tried(sequence + 1, 1, { status: 200 })).toBe("unknown")
      expect(await store.delivery(id)).toMatchObject({ delivery: { state: "pending", tries: 1 } })
    })

    test("without a retry left it is exhausted, until it is sent again", async () => {
      const { id, sequence } = await finish()
      for (const number of [1, 2, 3]) await tried(sequence, number, { status: 500 })
      expect((await store.delivery(id))?.delivery.state).toBe("exhausted")
      expect(await due()).toEqual([])
      expect(await store.requeueDelivery(id)).toMatchObject({ state: "pending", tries: 3 })
      expect(await dueIds()).toEqual([id])
      expect(await tried(sequence, 4, { status: 500 })).toMatchObject({ state: "pending" })
      expect(await store.requeueDelivery("unknown")).toBeNull()
    })

    test("of one origin no more are due than asked for, so that it hides no other", async () => {
      const many = []
      for (let count = 0; count < 5; count += 1) many.push(await finish())
      const other = await finish({ webhook: "https://example.org/" })
      const port = await finish({ webhook: "https://example.com:444/" })
      const [first, second] = many.map(({ id }) => id)
      expect(await dueIds(100, 2)).toEqual([first, second, other.id, port.id])
      expect(await dueIds(3, 2)).toEqual([first, second, other.id])
      // Named with its port, where the scheme does not say it.
      expect(await dueIds(2, 2, ["https://example.com"])).toEqual([other.id, port.id])
      const both = ["https://example.org", "https://example.com:444"]
      expect(await dueIds(2, 2, both)).toEqual([first, second])
    })

    test("what was due first comes first", async () => {
      const early = await finish()
      const late = await finish()
      const fresh = await finish({ webhook: "https://example.org/" })
      await tried(late.sequence, 1, { status: 500 })
      now += 10
      await tried(early.sequence, 1, { status: 500 })
      now += 2_000
      expect(await dueIds()).toEqual([fresh.id, late.id, early.id])
    })

    test("an account's list is stable while it grows, newest first, and by state", async () => {
      const made = []
      for (let count = 0; count < 5; count += 1) made.push(await finish())
      await finish({ account: "other" })
      await tried(made[1]?.sequence ?? 0, 1, { status: 200 })
      const ids = made.map(({ id }) => id).toReversed()
      const first = await store.deliveries({ account: "local", limit: 2 })
      await finish()
      const before = first.at(-1)?.sequence ?? 0
      const rest = await store.deliveries({ account: "local", limit: 10, before })
      expect([...first, ...rest].map(({ request }) => request)).toEqual(ids)
      const state = "delivered"
      const delivered = await store.deliveries({ account: "local", state, limit: 10 })
      expect(delivered.map(({ request }) => request)).toEqual([made[1]?.id])
    })
  })
}
