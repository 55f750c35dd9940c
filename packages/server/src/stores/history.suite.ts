import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { NewRequest } from "../domain/request.ts"
import type { AttemptResult, Claim, RequestPage, Store } from "../store.ts"
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

function answered(status = 200, headers: Record<string, string> = {}): AttemptResult {
  return { kind: "answered", status, headers, body: { inline: bytes("no") }, inferenceMs: 3 }
}

/** The laws of `store.ts` about what became of requests, for every adapter. */
export function describeHistory(name: string, open: OpenStore): void {
  describe(`store, history: ${name}`, () => {
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

    async function submit(fields: Partial<NewRequest> = {}): Promise<string> {
      return (await store.submit(newRequest(fields))).id
    }

    async function claim(session = "s1", from = app): Promise<Claim> {
      const [claimed] = await store.claim({ session, apps: [from], leases: [newLease()] })
      if (claimed === undefined) throw new Error("Nothing was claimed")
      return claimed
    }

    async function settle({ request }: Claim, result: AttemptResult): Promise<void> {
      const { lease = "", session = "" } = request.attempt ?? {}
      expect(await store.settle({ lease, session, result })).toBe("settled")
    }

    /** Ids of all pages; `between` is called after each one. */
    async function walk(
      page: Partial<RequestPage> & { limit: number },
      between: () => Promise<unknown> = async () => {},
    ): Promise<string[]> {
      const ids: string[] = []
      let before: number | null = null
      do {
        const cursor: { before?: number } = before === null ? {} : { before }
        const { requests, next } = await store.requests({ account: "local", ...page, ...cursor })
        ids.push(...requests.map(({ id }) => id))
        before = next
        await between()
      } while (before !== null)
      return ids
    }

    describe("the attempts of a request", () => {
      test("are none before it starts, then one that runs, then one that ended with it", async () => {
        const { id, sequence } = await store.submit(newRequest())
        expect(await store.attempts(sequence)).toEqual([])
        now += 10
        const claimed = await claim()
        const runner = { pid: 1, build: "b", openedAt: 1_000_000 }
        const first = { number: 1, session: "s1", runner, startedAt: now, requeued: null }
        expect(await store.attempts(sequence)).toEqual([{ ...first, endedAt: null }])
        now += 10
        await settle(claimed, answered())
        expect((await store.request(id))?.state).toBe("succeeded")
        expect(await store.attempts(sequence)).toEqual([{ ...first, endedAt: now }])
        expect(await store.attempts(sequence + 1)).toEqual([])
      })

      test("tell why each but the last was not the last, and who made it", async () => {
        const second = { pid: 2, startedAt: "later", build: "c" }
        const { id, sequence } = await store.submit(newRequest())
        const causes: [() => Promise<unknown>, string, number | null, string][] = [
          [() => store.endAttempts("s1", "stopped"), "stopped", null, "server_stopping"],
          [() => store.endAttempts("s1", "lost"), "lost", null, "runner_disconnected"],
        ]
        const results: [AttemptResult, string, number | null, string][] = [
          [answered(503), "transient", 503, "runner_server_error"],
          [answered(504, { "x-fal-error-type": "asleep" }), "transient", 504, "asleep"],
          [
            { kind: "failed", reason: "timed_out", detail: "", inferenceMs: 1 },
            ...(["timed_out", null, "request_timeout"] as const),
          ],
          [
            { kind: "failed", reason: "unknown_app", detail: "", inferenceMs: 1 },
            ...(["unhosted", null, "runner_disconnected"] as const),
          ],
        ]
        const expected: object[] = []
        for (const [end, reason, status, errorType] of causes) {
          const { request } = await claim()
          const { number, startedAt } = request.attempt!
          now += 5
          await end()
          const requeued = { reason, status, errorType }
          const runner = { pid: 1, build: "b", openedAt: 1_000_000 }
          expected.push({ number, session: "s1", runner, startedAt, endedAt: now, requeued })
          now += backoffMsMax
        }
        await store.openSession(newHello("s2", { runner: second }))
        const runner = { pid: 2, build: "c", openedAt: now }
        for (const [result, reason, status, errorType] of results) {
          const claimed = await claim("s2")
          const { number, startedAt } = claimed.request.attempt!
          now += 5
          await settle(claimed, result)
          const requeued = { reason, status, errorType }
          expected.push({ number, session: "s2", runner, startedAt, endedAt: now, requeued })
          expect(await store.attempts(sequence)).toEqual(expected)
          now += backoffMsMax
        }
        await settle(await claim("s2"), answered())
        const attempts = await store.attempts(sequence)
        expect(attempts.slice(0, -1)).toEqual(expected)
        expect(attempts.at(-1)).toMatchObject({ number: 7, session: "s2", requeued: null })
        expect(await store.request(id)).toMatchObject({ state: "succeeded", attempts: 7 })
      })

      test("end with a request that is cancelled: while it waits, while it runs", async () => {
        const waiting = await store.submit(newRequest())
        await settle(await claim(), answered(503))
        await store.cancel({ id: waiting.id, cause: "client_cancelled" })
        const [only, ...others] = await store.attempts(waiting.sequence)
        expect([only?.number, only?.requeued?.reason, others]).toEqual([1, "transient", []])
        const running = await store.submit(newRequest())
        await claim()
        await store.cancel({ id: running.id, cause: "client_cancelled" })
        now += 5
        await store.endAttempts("s1", "lost")
        expect((await store.request(running.id))?.state).toBe("cancelled")
        expect(await store.attempts(running.sequence)).toMatchObject([
          { number: 1, session: "s1", runner: { pid: 1 }, endedAt: now, requeued: null },
        ])
      })

      test("are on record with their outcome, so that a lost lease still writes nothing", async () => {
        const { id, sequence } = await store.submit(newRequest({ noRetry: true }))
        const { request } = await claim()
        await store.endAttempts("s1", "lost")
        expect((await store.request(id))?.state).toBe("failed")
        expect(await store.attempts(sequence)).toMatchObject([{ session: "s1", endedAt: now }])
        const { lease = "", session = "" } = request.attempt ?? {}
        expect(await store.settle({ lease, session, result: answered() })).toBe("stale")
      })

      test("keep their runner for 31 days after its end", async () => {
        const { sequence } = await store.submit(newRequest())
        await claim()
        await store.endAttempts("s1", "lost")
        now += 31 * 24 * 3_600_000
        await store.endAttempts("another", "lost")
        expect(await store.attempts(sequence)).toMatchObject([{ runner: { pid: 1 } }])
        now += 1
        await store.endAttempts("one more", "lost")
        expect(await store.attempts(sequence)).toMatchObject([{ session: "s1", runner: null }])
      })

      test("know when their runner's session began, however often it said hello", async () => {
        const { sequence } = await store.submit(newRequest())
        await claim()
        now += 60_000
        await store.openSession(newHello("s1"))
        expect(await store.attempts(sequence)).toMatchObject([{ runner: { openedAt: 1_000_000 } }])
      })
    })

    describe("the requests of an account", () => {
      test("are listed page by page, the newest first, without those of others", async () => {
        const ids: string[] = []
        for (let count = 0; count < 5; count += 1) {
          ids.unshift(await submit())
          await submit({ account: "other" })
        }
        expect(await walk({ limit: 2 })).toEqual(ids)
        expect(await walk({ limit: 5 })).toEqual(ids)
        expect(await walk({ limit: 100 })).toEqual(ids)
        expect(await walk({ account: "nobody", limit: 100 })).toEqual([])
        const { requests, next } = await store.requests({ account: "local", limit: 5 })
        expect(requests[0]).toEqual(await store.request(ids[0]!))
        expect(next).toBeNull()
      })

      test("are each met once by a walk, while others are submitted, started and ended", async () => {
        const there: string[] = []
        for (let count = 0; count < 40; count += 1) there.unshift(await submit())
        const walked = await walk({ limit: 3 }, async () => {
          await submit()
          await settle(await claim(), answered())
          await submit({ account: "other" })
        })
        expect(walked).toEqual(there)
      })

      test("are listed by state, endpoint and app", async () => {
        const made = {
          queued: await submit({ app: "acme/waits", endpoint: "acme/waits" }),
          running: await submit({ endpoint: `${app}/big` }),
          succeeded: await submit(),
          failed: await submit(),
          cancelled: await submit({ endpoint: `${app}/big` }),
        }
        await store.cancel({ id: made.cancelled, cause: "client_cancelled" })
        await claim()
        await settle(await claim(), answered())
        await settle(await claim(), answered(500))
        for (const [state, id] of Object.entries(made)) {
          const page = { state: state as keyof typeof made, limit: 10 }
          expect([state, await walk(page)]).toEqual([state, [id]])
          expect(await walk({ ...page, account: "other" })).toEqual([])
        }
        const { queued, running, succeeded, failed, cancelled } = made
        const big = { endpoint: `${app}/big`, limit: 1 }
        expect(await walk(big)).toEqual([cancelled, running])
        expect(await walk({ ...big, state: "cancelled" })).toEqual([cancelled])
        expect(await walk({ ...big, state: "failed" })).toEqual([])
        expect(await walk({ app, limit: 2 })).toEqual([cancelled, failed, succeeded, running])
        expect(await walk({ app: "acme/waits", state: "queued", limit: 2 })).toEqual([queued])
        expect(await walk({ app, endpoint: "acme/waits", limit: 2 })).toEqual([])
      })

      test("that are few of very many are found by a walk whose pages stay small", async () => {
        const rare = await submit({ endpoint: "acme/painter/rare" })
        const submits = Array.from({ length: 12_000 }, () => store.submit(newRequest()))
        await Promise.all(submits)
        const page = { account: "local", endpoint: "acme/painter/rare", limit: 10 }
        const first = await store.requests(page)
        expect(first.requests).toEqual([])
        expect(first.next).not.toBeNull()
        let pages = 0
        expect(await walk(page, async () => (pages += 1))).toEqual([rare])
        expect(pages).toBeLessThan(10)
        // Also where a page ends because it has read enough, no row is skipped or met twice.
        const all = await walk({ app, limit: 20_000 })
        expect([all.length, new Set(all).size]).toEqual([12_001, 12_001])
      })
    })
  })
}
