import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { NewRequest } from "../domain/request.ts"
import type { AttemptResult, Claim, Store } from "../store.ts"
import {
  backoffMsMax,
  bytes,
  newHello,
  newLease,
  newRequest,
  type OpenedStore,
  type OpenStore,
} from "./store.suite.ts"

const app = newRequest().app

function answered(status: number, headers: Record<string, string> = {}): AttemptResult {
  return { kind: "answered", status, headers, body: { inline: bytes("no") }, inferenceMs: 3 }
}

const idsOf = (claims: Claim[]) => claims.map(({ request }) => request.id)

/** The laws of `store.ts` about backoffs, start deadlines and the length of a queue, for every adapter. */
export function describeRetries(name: string, open: OpenStore): void {
  describe(`store, retries and deadlines: ${name}`, () => {
    let now = 1_000_000
    let opened: OpenedStore
    let store: Store

    beforeEach(async () => {
      now = 1_000_000
      opened = await open({ clock: () => now })
      store = opened.store
      await store.openSession(newHello("s1"))
    })

    afterEach(async () => {
      await store.close()
    })

    async function claim(count = 1, apps = [app]): Promise<Claim[]> {
      const leases = Array.from({ length: count }, newLease)
      return await store.claim({ session: "s1", apps, leases })
    }

    async function submit(fields: Partial<NewRequest> = {}): Promise<string> {
      return (await store.submit(newRequest(fields))).id
    }

    async function settle(claimed: Claim | undefined, result: AttemptResult): Promise<void> {
      const lease = claimed?.request.attempt?.lease ?? "none"
      expect(await store.settle({ lease, session: "s1", result })).toBe("settled")
    }

    /** Submits a request, whose first attempt fails. */
    async function fail(fields: Partial<NewRequest> = {}): Promise<string> {
      const id = await submit(fields)
      const [claimed] = await claim(1, [fields.app ?? app])
      expect(claimed?.request.id).toBe(id)
      await settle(claimed, answered(503))
      return id
    }

    describe("an attempt after another", () => {
      test("is told how much the request has logged before it", async () => {
        const failed = await submit()
        const [first] = await claim()
        expect(first?.logBytes).toBe(0)
        const log = { at: 1, kind: "log", level: "INFO" } as const
        await store.appendEvents([
          {
            lease: first!.request.attempt!.lease,
            events: [
              { ...log, seq: 1, message: "ä".repeat(5) },
              { ...log, seq: 2, message: "12", labels: { k: "v" } },
              { seq: 3, at: 1, kind: "progress", step: 1, steps: 2 },
            ],
          },
        ])
        await settle(first, answered(503))
        now += backoffMsMax
        const [second] = await claim()
        expect(second?.request.id).toBe(failed)
        // Ten bytes, two, and the labels as they are stored.
        expect(second?.logBytes).toBe(12 + '{"k":"v"}'.length)
      })
    })

    describe("a backoff", () => {
      test("keeps the turn, counts in positions and holds up nobody", async () => {
        const failed = await fail()
        const later = [await submit(), await submit()]
        expect(await store.positions([failed, ...later])).toEqual([0, 1, 2])
        expect(await store.queueLength(app)).toBe(3)
        expect(idsOf(await claim())).toEqual([later[0]])
        expect(await store.positions([failed, ...later])).toEqual([0, null, 1])
      })

      test("ends at its time, and the request is the first of its queue again", async () => {
        const failed = await fail()
        const later = await submit()
        const notBefore = (await store.request(failed))?.notBefore ?? 0
        expect(notBefore).toBeGreaterThan(now)
        expect(notBefore).toBeLessThanOrEqual(now + backoffMsMax)
        expect(await store.nextDueAt()).toBe(notBefore)
        now = notBefore - 1
        expect(await store.advance()).toEqual({ released: [], ended: 0 })
        now = notBefore
        expect(idsOf(await claim(2))).toEqual([failed, later])
        expect((await store.request(failed))?.attempts).toBe(2)
        expect(await store.nextDueAt()).toBeNull()
      })

      test("that is over is told once, to whoever advances the store", async () => {
        await fail()
        await fail({ app: "acme/other" })
        expect((await store.request(await fail()))?.state).toBe("queued")
        now += backoffMsMax
        const { released } = await store.advance()
        expect(released.toSorted()).toEqual(["acme/other", app, app])
        expect(await store.advance()).toEqual({ released: [], ended: 0 })
        expect(await claim(3, [app, "acme/other"])).toHaveLength(3)
      })

      test("is longer after each attempt, and the last answer is shown as it is", async () => {
        const id = await submit()
        const waits: number[] = []
        for (let attempt = 1; attempt <= 10; attempt += 1) {
          const [claimed] = await claim()
          expect(claimed?.request).toMatchObject({
            id,
            attempts: attempt,
            attemptsCounted: attempt,
          })
          await settle(claimed, answered(503, { "x-mine": String(attempt) }))
          const record = await store.request(id)
          if (attempt < 10) waits.push((record?.notBefore ?? 0) - now)
          now += backoffMsMax
        }
        const record = await store.request(id)
        expect(record).toMatchObject({
          state: "failed",
          attempts: 10,
          notBefore: null,
          outcome: { status: 503, headers: { "x-mine": "10" } },
        })
        expect(await store.body(record!.sequence, "output")).toEqual({ inline: bytes("no") })
        expect(waits).toHaveLength(9)
        expect(waits[5]).toBeGreaterThan(waits[0]! * 4)
        const notes = await store.events(record!.sequence)
        expect(notes).toHaveLength(9)
        expect(notes[0]?.event).toMatchObject({
          message: expect.stringContaining("the app answered with status 503; back in the queue"),
        })
      })

      test("can be cancelled, and then its time means nothing", async () => {
        const id = await fail()
        expect((await store.cancel({ id, cause: "client_cancelled" })).result).toBe("removed")
        now += backoffMsMax
        expect(await store.nextDueAt()).toBeNull()
        expect(await store.advance()).toEqual({ released: [], ended: 0 })
        expect(await claim()).toEqual([])
        expect(await store.queueLength(app)).toBe(0)
      })

      test("of many at the head of a queue leaves every position true", async () => {
        const failed: string[] = []
        for (let count = 0; count < 300; count += 1) failed.push(await submit())
        for (const claimed of await claim(300)) await settle(claimed, answered(503))
        const fresh = await Promise.all(Array.from({ length: 30 }, () => submit()))
        const places = await store.positions([...failed, ...fresh])
        expect(places).toEqual(Array.from({ length: 330 }, (_, place) => place))
        expect(idsOf(await claim(30))).toEqual(fresh)
        now += backoffMsMax
        expect(idsOf(await claim(300))).toEqual(failed)
      })
    })

    test("a caller who wants no retry gets one attempt", async () => {
      const id = await submit({ noRetry: true })
      await settle((await claim())[0], answered(503))
      expect(await store.request(id)).toMatchObject({ state: "failed", noRetry: true })
    })

    describe("a start deadline", () => {
      test.each(["queue", "run"] as const)("ends what did not start in time [%s]", async (door) => {
        const id = await submit({ door, startTimeoutMs: 500 })
        expect(await store.nextDueAt()).toBe(now + 500)
        now += 500
        expect(await store.advance()).toEqual({ released: [], ended: 1 })
        expect(await store.request(id)).toMatchObject({
          state: "failed",
          attempts: 0,
          outcome: { status: 504, headers: { "x-fal-request-timeout-type": "user" } },
        })
        expect(opened.committed.at(-1)?.map((record) => record.id)).toEqual([id])
        expect(await store.queueLength(app)).toBe(0)
      })

      test("is judged before an attempt starts, and holds up nobody behind it", async () => {
        const late = [await submit({ startTimeoutMs: 100 }), await submit({ startTimeoutMs: 200 })]
        const patient = await submit({ startTimeoutMs: 60_000 })
        now += 1_000
        expect(idsOf(await claim(3))).toEqual([patient])
        for (const id of late) expect((await store.request(id))?.state).toBe("failed")
        now += 60_000
        expect(await store.advance()).toEqual({ released: [], ended: 0 })
      })

      test("goes on across attempts (its first one was lost in time)", async () => {
        const id = await fail({ startTimeoutMs: backoffMsMax + 1 })
        now += backoffMsMax + 1
        expect(await claim()).toEqual([])
        expect((await store.request(id))?.outcome).toMatchObject({ errorType: "startup_timeout" })
      })

      test("of very many is judged in slices, until none is left", async () => {
        await Promise.all(Array.from({ length: 1_500 }, () => submit({ startTimeoutMs: 100 })))
        now += 100
        const first = await store.advance()
        expect(first.ended).toBeLessThan(1_500)
        expect(await store.nextDueAt()).toBe(now)
        expect(first.ended + (await store.advance()).ended).toBe(1_500)
        expect(await store.nextDueAt()).toBeNull()
      })
    })

    describe("the longest queue that a caller accepts", () => {
      test("is judged in the transaction of the submit (all of one batch)", async () => {
        const results = await Promise.allSettled(
          Array.from({ length: 10 }, () => submit({ queueLengthMax: 3 })),
        )
        // Refused is who finds more than three before it.
        expect(results.map(({ status }) => status === "fulfilled")).toEqual([
          ...[true, true, true, true],
          ...[false, false, false, false, false, false],
        ])
        const refused = results.filter((result) => result.status === "rejected")
        for (const { reason } of refused) expect(reason).toMatchObject({ code: "queue_too_long" })
        expect(await store.queueLength(app)).toBe(4)
      })

      test("counts the queue of its app alone, and what left it in the same batch", async () => {
        for (let count = 0; count < 3; count += 1) await submit({ app: "acme/other" })
        await submit()
        const gone = claim()
        const fits = submit({ queueLengthMax: 0 })
        await gone
        expect(await store.positions([await fits])).toEqual([0])
        await expect(submit({ queueLengthMax: 0 })).rejects.toMatchObject({
          code: "queue_too_long",
        })
      })

      test("leaves no trace of a refused request (id, turn, position)", async () => {
        const first = await submit()
        const request = newRequest({ queueLengthMax: 0 })
        await expect(store.submit(request)).rejects.toThrow(/queued/)
        expect(await store.request(request.id)).toBeNull()
        const second = await submit()
        const turns = await Promise.all([first, second].map((id) => store.request(id)))
        expect(turns[1]!.turn).toBe(turns[0]!.turn + 1)
      })
    })
  })
}

/** Takes seconds, so an adapter whose file is no part of the promise runs it once. */
export function describeFlood(name: string, open: OpenStore): void {
  test(`100,000 queued requests of one account do not hold up another's first: ${name}`, async () => {
    const { store } = await open({ clock: () => 1_000_000 })
    await store.openSession(newHello("s1"))
    const flood: string[] = []
    for (let batch = 0; batch < 10; batch += 1) {
      const account = "flood"
      const submits = Array.from({ length: 10_000 }, () => store.submit(newRequest({ account })))
      flood.push(...(await Promise.all(submits)).map(({ id }) => id))
    }
    const claim = (leases: string[]) => store.claim({ session: "s1", apps: [app], leases })
    expect(idsOf(await claim([newLease()]))).toEqual([flood[0]])
    const startedAt = performance.now()
    const { id } = await store.submit(newRequest({ account: "newcomer" }))
    const [position, last] = await store.positions([id, flood.at(-1)!])
    const claims = await claim([newLease(), newLease(), newLease()])
    const tookMs = performance.now() - startedAt
    expect(await store.queueLength(app)).toBe(100_001 - 4)
    // Beside the head: one that came before has the same turn.
    expect([position, last]).toEqual([1, 99_999])
    expect(idsOf(claims)).toEqual([flood[1], id, flood[2]])
    // A walk over the queue would take as long as it is.
    expect(tookMs).toBeLessThan(1_000)
    await store.close()
  }, 120_000)
}
