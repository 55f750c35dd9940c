import { randomBytes, randomUUID } from "node:crypto"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { defaultConfig } from "../config.ts"
import type { NewRequest, RequestRecord } from "../domain/request.ts"
import { comparePlaces } from "../domain/turn.ts"
import type { AttemptResult, Claim, SessionHello, Store } from "../store.ts"

/** A store under test, and what the suite must see of it from outside. */
export interface OpenedStore {
  store: Store
  /** What `onCommit` was told, call by call. */
  committed: RequestRecord[][]
  /** What `onFreed` was told, call by call. */
  freed: string[][]
  /** Flushes so far. */
  commits: () => number
}

export interface StoreSetup {
  clock: () => number
  batchOperationsMax?: number
  batchBytesMax?: number
  concurrencyMax?: number
}

export type OpenStore = (setup: StoreSetup) => Promise<OpenedStore>

const app = "acme/painter"

export function newLease(): string {
  return randomBytes(16).toString("hex")
}

export function newRequest(fields: Partial<NewRequest> = {}): NewRequest {
  const target = fields.app ?? app
  return {
    id: randomUUID(),
    account: "local",
    door: "queue",
    app: target,
    endpoint: target,
    path: "/",
    priority: "normal",
    input: { inline: bytes('{"prompt":"a cat"}') },
    headers: { "x-fal-test": "1" },
    fileBase: "http://127.0.0.1:3250/files",
    ...fields,
  }
}

export function newHello(session: string, fields: Partial<SessionHello> = {}): SessionHello {
  const runner = { pid: 1, startedAt: "then", build: "b" }
  return { session, runner, apps: [app], held: [], unacked: [], ...fields }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function answered(text = '{"ok":true}', status = 200): AttemptResult {
  const headers = { "content-type": "application/json" }
  return { kind: "answered", status, headers, body: { inline: bytes(text) }, inferenceMs: 12 }
}

function leaseOf(claim: Claim | undefined): string {
  const lease = claim?.request.attempt?.lease
  if (lease === undefined) throw new Error("Nothing was claimed")
  return lease
}

function log(seq: number) {
  return { seq, at: 5, kind: "log", level: "INFO", message: `line ${seq}` } as const
}

/** Numbers below `limit` that a seed repeats: mulberry32. */
export function seeded(seed: number): (limit: number) => number {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

/** No backoff is longer, with the defaults. */
export const backoffMsMax = defaultConfig.timing.retryMaxMs

/** The laws of `store.ts`, for every adapter. */
export function describeStore(name: string, open: OpenStore): void {
  describe(`store: ${name}`, () => {
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

    async function claimOne(session = "s1", apps = [app]): Promise<Claim | undefined> {
      const [claim] = await store.claim({ session, apps, leases: [newLease()] })
      return claim
    }

    async function start(fields: Partial<NewRequest> = {}): Promise<Claim> {
      const submitted = store.submit(newRequest(fields))
      const claimed = claimOne("s1", [fields.app ?? app])
      await submitted
      const claim = await claimed
      if (claim === undefined) throw new Error("Nothing was claimed")
      return claim
    }

    function settle(claim: Claim, result = answered(), session = "s1") {
      return store.settle({ lease: leaseOf(claim), session, result })
    }

    describe("submit and claim", () => {
      test("a submitted request is read back as it was returned, with its input", async () => {
        const request = newRequest()
        const record = await store.submit(request)
        expect(record).toMatchObject({ id: request.id, state: "queued", submittedAt: now })
        expect(await store.request(request.id)).toEqual(record)
        expect(await store.body(record.sequence, "input")).toEqual(request.input)
        expect(await store.body(record.sequence, "output")).toBeNull()
        expect(await store.request("unknown")).toBeNull()
      })

      test("a body is kept byte for byte (empty, a view, a blob) and the caller keeps its array", async () => {
        const large = new Uint8Array(100_000).map((_, index) => index % 251)
        const view = large.subarray(500, 33_000)
        const bodies = [{ inline: new Uint8Array(0) }, { inline: view }, { blob: "b1", bytes: 7e7 }]
        const records = await Promise.all(
          bodies.map((input) => store.submit(newRequest({ input }))),
        )
        for (const [index, record] of records.entries()) {
          expect(await store.body(record.sequence, "input")).toEqual(bodies[index])
        }
        expect(view[0]).toBe(large[500])
        const claims = await store.claim({
          session: "s1",
          apps: [app],
          leases: [newLease(), newLease(), newLease()],
        })
        expect(claims.map((claim) => claim.input)).toEqual(bodies)
      })

      test("a claim carries all that an assign needs", async () => {
        const claim = await start()
        expect(claim.headers).toEqual({ "x-fal-test": "1" })
        expect(claim.fileBase).toBe("http://127.0.0.1:3250/files")
        expect(claim.input).toEqual(newRequest().input)
        expect(claim.request).toMatchObject({ state: "running", attempts: 1 })
        expect(claim.request.attempt).toMatchObject({ number: 1, session: "s1", startedAt: now })
        expect(await store.leaseHolder(leaseOf(claim))).toEqual(claim.request)
        expect(await store.leaseHolder(newLease())).toBeNull()
      })

      test("an id exists once (the second submit rejects and leaves nothing)", async () => {
        const request = newRequest()
        await store.submit(request)
        await expect(store.submit(request)).rejects.toThrow(/UNIQUE|unique/)
        expect(await store.queueLength(app)).toBe(1)
      })

      test("many claimers, one winner", async () => {
        const records = await Promise.all(
          Array.from({ length: 20 }, () => store.submit(newRequest())),
        )
        const claims = await Promise.all(
          Array.from({ length: 60 }, () =>
            store.claim({ session: "s1", apps: [app], leases: [newLease(), newLease()] }),
          ),
        )
        const ids = claims.flat().map((claim) => claim.request.id)
        expect(ids.toSorted()).toEqual(records.map((record) => record.id).toSorted())
        expect(await store.appsWithWork()).toEqual([])
      })

      test("many claimers, one winner (two sessions at work while requests come in, each trying the other's leases)", async () => {
        await store.openSession(newHello("s2"))
        const count = 120
        const winners = new Map<string, string>()
        const work = async (session: string, other: string) => {
          while (winners.size < count) {
            const leases = [newLease(), newLease()]
            const claims = await store.claim({ session, apps: [app], leases })
            for (const claim of claims) {
              const { id, attempt } = claim.request
              expect(winners.has(id)).toBe(false)
              winners.set(id, session)
              expect(attempt).toMatchObject({ number: 1, session })
              expect(leases).toContain(attempt?.lease)
            }
            const ends = claims.flatMap((claim) => [
              settle(claim, answered(other), other),
              settle(claim, answered(session), session),
            ])
            expect(await Promise.all(ends)).toEqual(claims.flatMap(() => ["stale", "settled"]))
          }
        }
        const arrive = async () => {
          for (let some = 0; some < count; some += 6) {
            await Promise.all(Array.from({ length: 6 }, () => store.submit(newRequest())))
          }
        }
        await Promise.all([
          arrive(),
          ...["s1", "s1"].map((one) => work(one, "s2")),
          work("s2", "s1"),
        ])
        expect(new Set(winners.values()).size).toBe(2)
        for (const [id, session] of winners) {
          const record = await store.request(id)
          expect(record).toMatchObject({ state: "succeeded", attempts: 1 })
          expect(await store.body(record!.sequence, "output")).toEqual({ inline: bytes(session) })
        }
      })

      test("a session that ends between two claims keeps nothing of either, and the other one gets it all", async () => {
        await store.openSession(newHello("s2"))
        const records = await Promise.all(
          Array.from({ length: 6 }, () => store.submit(newRequest())),
        )
        const claim = (session: string) =>
          store.claim({ session, apps: [app], leases: [newLease(), newLease()] })
        const [before, ended, after] = await Promise.all([
          claim("s1"),
          store.endAttempts("s1", "lost"),
          claim("s1"),
        ])
        expect([before.length, ended, after.length]).toEqual([2, 2, 0])
        now += backoffMsMax
        const claims = (await Promise.all([claim("s2"), claim("s2"), claim("s2")])).flat()
        const ids = claims.map(({ request }) => request.id)
        expect(ids.toSorted()).toEqual(records.map(({ id }) => id).toSorted())
        for (const lost of before) expect(await settle(lost)).toBe("stale")
      })

      test("apps take turns, the first named first, until leases run out", async () => {
        for (const target of ["a/one", "a/one", "a/one", "b/two", "b/two", "c/three"]) {
          await store.submit(newRequest({ app: target }))
        }
        expect(await store.appsWithWork()).toEqual(["a/one", "b/two", "c/three"])
        const claims = await store.claim({
          session: "s1",
          apps: ["b/two", "a/one", "z/none"],
          leases: Array.from({ length: 4 }, newLease),
        })
        expect(claims.map((claim) => claim.request.app)).toEqual([
          "b/two",
          "a/one",
          "b/two",
          "a/one",
        ])
        expect(await store.queueLength("a/one")).toBe(1)
        expect(await store.appsWithWork()).toEqual(["a/one", "c/three"])
      })

      test("a run goes before everything that waits its turn", async () => {
        await store.submit(newRequest())
        const run = await store.submit(newRequest({ door: "run" }))
        expect(await store.positions([run.id])).toEqual([0])
        expect((await claimOne())?.request.id).toBe(run.id)
      })

      test("a session that was never opened, or is dead, claims nothing", async () => {
        await store.submit(newRequest())
        expect(await claimOne("nobody")).toBeUndefined()
        await store.endAttempts("s1", "lost")
        expect(await claimOne("s1")).toBeUndefined()
        expect(await store.queueLength(app)).toBe(1)
      })
    })

    describe("outcomes", () => {
      test("the holder's outcome is terminal, with its body", async () => {
        const claim = await start()
        now += 50
        expect(await settle(claim)).toBe("settled")
        const record = await store.request(claim.request.id)
        expect(record).toMatchObject({ state: "succeeded", attempt: null, finishedAt: now })
        expect(record?.outcome).toMatchObject({ status: 200, inferenceMs: 12, error: null })
        expect(await store.body(claim.request.sequence, "output")).toEqual({
          inline: bytes('{"ok":true}'),
        })
        expect(await store.leaseHolder(leaseOf(claim))).toBeNull()
      })

      test("the same outcome twice is a no-op (in one batch and later)", async () => {
        const claim = await start()
        const [first, second] = await Promise.all([settle(claim), settle(claim)])
        expect([first, second]).toEqual(["settled", "repeated"])
        const before = await store.request(claim.request.id)
        const calls = opened.committed.length
        expect(await settle(claim, answered("other", 500))).toBe("repeated")
        expect(await store.request(claim.request.id)).toEqual(before)
        expect(opened.committed.length).toBe(calls)
      })

      test("a stale lease cannot write (unknown, another session's, of a lost attempt)", async () => {
        const claim = await start()
        expect(await store.settle({ lease: newLease(), session: "s1", result: answered() })).toBe(
          "stale",
        )
        expect(await settle(claim, answered(), "s2")).toBe("stale")
        await store.endAttempts("s1", "lost")
        expect(await settle(claim)).toBe("stale")
        expect((await store.request(claim.request.id))?.state).toBe("queued")
      })

      test("a zombie's lease stays stale when another attempt runs and when it has ended", async () => {
        const zombie = await start()
        await store.endAttempts("s1", "lost")
        now += backoffMsMax
        await store.openSession(newHello("s2"))
        const second = await claimOne("s2")
        if (second === undefined) throw new Error("Nothing was claimed")
        expect(second.request.attempts).toBe(2)
        expect(await settle(zombie)).toBe("stale")
        expect(await settle(second, answered("second"), "s2")).toBe("settled")
        expect(await settle(zombie)).toBe("stale")
        expect(await store.body(second.request.sequence, "output")).toEqual({
          inline: bytes("second"),
        })
      })

      test("an aborted attempt that nobody asked to stop goes back, and its lease is repeated", async () => {
        const claim = await start()
        const aborted: AttemptResult = {
          kind: "failed",
          reason: "aborted",
          detail: "",
          inferenceMs: 1,
        }
        expect(await settle(claim, aborted)).toBe("settled")
        expect(await store.positions([claim.request.id])).toEqual([0])
        expect(await settle(claim, aborted)).toBe("repeated")
        expect((await claimOne())?.request.attempts).toBe(2)
        expect(await settle(claim, aborted)).toBe("stale")
      })

      test("terminal is final for every write there is", async () => {
        const claim = await start()
        await settle(claim)
        const before = await store.request(claim.request.id)
        expect(await store.cancel({ id: claim.request.id, cause: "client_cancelled" })).toEqual({
          result: "finished",
          request: before,
        })
        expect(await store.failQueued(claim.request.id, "startup_timeout")).toBe(false)
        expect(await store.endAttempts("s1", "lost")).toBe(0)
        await store.recover()
        expect(await store.request(claim.request.id)).toEqual(before)
      })

      test("expiry makes work claimable, in its old place, with a note that says why", async () => {
        const claim = await start()
        const later = await store.submit(newRequest())
        now += 30_000
        expect(await store.endAttempts("s1", "lost")).toBe(1)
        expect(await store.positions([claim.request.id, later.id])).toEqual([0, 1])
        const [note] = await store.events(claim.request.sequence)
        expect(note).toMatchObject({ attempt: 1, source: "gateway" })
        expect(note?.event).toMatchObject({ kind: "log", level: "INFO", at: now })
        await store.openSession(newHello("s2"))
        now += backoffMsMax
        expect((await claimOne("s2"))?.request).toMatchObject({ id: claim.request.id, attempts: 2 })
      })

      test("attempts that our own stop ended do not count and their session goes on", async () => {
        const claim = await start()
        expect(await store.endAttempts("s1", "stopped")).toBe(1)
        expect(await store.request(claim.request.id)).toMatchObject({
          state: "queued",
          attempts: 1,
          attemptsCounted: 0,
        })
        expect((await claimOne())?.request.attempts).toBe(2)
      })

      test("a request whose attempts are all lost fails at the door's limit", async () => {
        const { id } = await store.submit(newRequest())
        for (let attempt = 1; attempt <= 10; attempt += 1) {
          await store.openSession(newHello(`session-${attempt}`))
          expect((await claimOne(`session-${attempt}`))?.request.attempts).toBe(attempt)
          await store.endAttempts(`session-${attempt}`, "lost")
          now += backoffMsMax
        }
        expect((await store.request(id))?.state).toBe("failed")
        expect(await store.queueLength(app)).toBe(0)
      })

      test("a queued request fails without a runner; a running one does not", async () => {
        const queued = await store.submit(newRequest({ app: "a/none" }))
        const running = await start()
        expect(await store.failQueued(queued.id, "runner_scheduling_failure")).toBe(true)
        expect(await store.failQueued(running.request.id, "startup_timeout")).toBe(false)
        expect(await store.failQueued("unknown", "startup_timeout")).toBe(false)
        expect((await store.request(queued.id))?.outcome).toMatchObject({
          errorType: "runner_scheduling_failure",
        })
        expect(await store.body(queued.sequence, "output")).not.toBeNull()
      })
    })

    describe("cancel", () => {
      test("a queued request is removed and its place is free", async () => {
        const first = await store.submit(newRequest())
        const second = await store.submit(newRequest())
        const { result, request } = await store.cancel({ id: first.id, cause: "client_cancelled" })
        expect([result, request?.state]).toEqual(["removed", "cancelled"])
        expect(await store.positions([first.id, second.id])).toEqual([null, 0])
        const again = await store.cancel({ id: first.id, cause: "client_cancelled" })
        expect(again.result).toBe("already_cancelled")
        expect((await claimOne())?.request.id).toBe(second.id)
      })

      test("a running request is asked to stop, once", async () => {
        const claim = await start()
        const asked = await store.cancel({ id: claim.request.id, cause: "client_cancelled" })
        expect(asked.result).toBe("requested")
        expect(asked.request).toMatchObject({
          state: "running",
          cancelRequest: { at: now, cause: "client_cancelled" },
        })
        now += 10
        const again = await store.cancel({ id: claim.request.id, cause: "client_cancelled" })
        expect(again).toEqual(asked)
        expect(await store.request(claim.request.id)).toEqual(asked.request)
      })

      test("an unknown request is said to be unknown", async () => {
        const result = await store.cancel({ id: "no-such", cause: "client_cancelled" })
        expect(result).toEqual({ result: "unknown", request: null })
      })

      test("a lost attempt with a cancel pending ends cancelled and never runs again", async () => {
        const claim = await start()
        await store.cancel({ id: claim.request.id, cause: "client_cancelled" })
        await store.endAttempts("s1", "lost")
        expect((await store.request(claim.request.id))?.state).toBe("cancelled")
        await store.openSession(newHello("s2"))
        expect(await claimOne("s2")).toBeUndefined()
      })
    })

    describe("commits", () => {
      test("submit, then claim in the same tick, is one flush", async () => {
        const before = opened.commits()
        await start()
        expect(opened.commits()).toBe(before + 1)
      })

      test("writes called while a commit is under way share the next one", async () => {
        const first = store.submit(newRequest())
        await new Promise((resolve) => setImmediate(resolve))
        const before = opened.commits()
        const rest = Array.from({ length: 100 }, () => store.submit(newRequest()))
        await Promise.all([first, ...rest])
        expect(opened.commits()).toBeLessThanOrEqual(before + 2)
      })

      test("a batch that changes nothing is no flush", async () => {
        const before = opened.commits()
        expect(await claimOne()).toBeUndefined()
        expect(opened.commits()).toBe(before)
      })

      test("onCommit gets the last version of each record, before the promises resolve", async () => {
        const told: string[] = []
        const submitted = store.submit(newRequest({ app: "a/one" }))
        const claimed = claimOne("s1", ["a/one"])
        const other = store.submit(newRequest({ app: "b/two" }))
        void submitted.then(() => told.push(`submitted, ${opened.committed.length}`))
        void claimed.then(() => told.push(`claimed, ${opened.committed.length}`))
        await Promise.all([submitted, claimed, other])
        expect(told).toEqual(["submitted, 1", "claimed, 1"])
        const [changed] = opened.committed
        expect(changed?.map((record) => [record.app, record.state])).toEqual([
          ["a/one", "running"],
          ["b/two", "queued"],
        ])
        expect(changed?.[0]).toEqual((await claimed)?.request)
      })

      test("nothing is visible before COMMIT", async () => {
        const request = newRequest()
        const submitted = store.submit(request)
        // Asked before the batch has left.
        expect(await store.request(request.id)).toBeNull()
        const record = await submitted
        expect(opened.committed.flat()).toEqual([record])
        expect(await store.request(request.id)).toEqual(record)
      })

      test("one bad operation in a batch fails alone and leaves nothing (row, count, turn)", async () => {
        const taken = newRequest()
        await store.submit(taken)
        const outcomes = await Promise.allSettled([
          store.submit(newRequest()),
          store.submit(taken),
          store.submit(newRequest()),
          store.openSession({ ...newHello("s3"), session: null as unknown as string }),
          store.submit(newRequest()),
        ])
        expect(outcomes.map((outcome) => outcome.status)).toEqual([
          "fulfilled",
          "rejected",
          "fulfilled",
          "rejected",
          "fulfilled",
        ])
        const turns = outcomes.flatMap((outcome) =>
          outcome.status === "fulfilled" && "turn" in outcome.value ? [outcome.value.turn] : [],
        )
        expect(turns).toEqual([2, 3, 4])
        expect(await store.queueLength(app)).toBe(4)
        expect(opened.committed.at(-1)).toHaveLength(3)
      })

      test("a claim that fails halfway gives back all it took (one lease used twice)", async () => {
        const ids = [await store.submit(newRequest()), await store.submit(newRequest())].map(
          (record) => record.id,
        )
        const lease = newLease()
        const calls = opened.committed.length
        const claimed = store.claim({ session: "s1", apps: [app], leases: [lease, lease] })
        await expect(claimed).rejects.toThrow(/UNIQUE|unique/)
        expect(await store.positions(ids)).toEqual([0, 1])
        expect(await store.queueLength(app)).toBe(2)
        expect(opened.committed.length).toBe(calls)
        // The clock did not move either: a new account still gets the first turn.
        expect((await store.submit(newRequest({ account: "new" }))).turn).toBe(1)
        expect((await claimOne())?.request.id).toBe(ids[0])
      })

      test("the batch queue is limited in operations (what was taken is still written)", async () => {
        const small = await open({ clock: () => now, batchOperationsMax: 10 })
        const outcomes = await Promise.allSettled(
          Array.from({ length: 15 }, () => small.store.submit(newRequest())),
        )
        const refused = outcomes.filter((outcome) => outcome.status === "rejected")
        expect(refused).toHaveLength(5)
        expect(refused[0]?.reason).toMatchObject({ name: "StoreError", code: "full" })
        expect(await small.store.queueLength(app)).toBe(10)
        await expect(small.store.submit(newRequest())).resolves.toBeDefined()
        await small.store.close()
      })

      test("the batch queue is limited in bytes", async () => {
        const small = await open({ clock: () => now, batchBytesMax: 50_000 })
        const input = { inline: new Uint8Array(30_000) }
        const outcomes = await Promise.allSettled([
          small.store.submit(newRequest({ input })),
          small.store.submit(newRequest({ input })),
          small.store.submit(newRequest()),
        ])
        expect(outcomes.map((outcome) => outcome.status)).toEqual([
          "fulfilled",
          "rejected",
          "fulfilled",
        ])
        await small.store.close()
      })

      test("close commits what was called before and refuses what comes after", async () => {
        const submitted = store.submit(newRequest())
        const closed = store.close()
        await expect(store.submit(newRequest())).rejects.toMatchObject({ code: "closed" })
        await expect(submitted).resolves.toMatchObject({ state: "queued" })
        await closed
        await expect(store.request("x")).rejects.toMatchObject({ code: "closed" })
        await store.close()
      })
    })

    describe("sessions and events", () => {
      test("events are stored once however often they are sent, in order", async () => {
        const claim = await start()
        const lease = leaseOf(claim)
        const progress = { seq: 2, at: 6, kind: "progress", step: 1, steps: 4 } as const
        const batch = { lease, events: [log(1), progress] }
        expect(await store.appendEvents([batch])).toEqual([{ lease, storedSeq: 2 }])
        const resent = { lease, events: [log(1), progress, log(3)] }
        expect(await store.appendEvents([resent])).toEqual([{ lease, storedSeq: 3 }])
        const stored = await store.events(claim.request.sequence)
        expect(stored.map(({ event }) => event)).toEqual([log(1), progress, log(3)])
        expect(stored.every(({ attempt, source }) => attempt === 1 && source === "app")).toBe(true)
        const after = await store.events(claim.request.sequence, { attempt: 1, seq: 2 })
        expect(after.map(({ event }) => event.seq)).toEqual([3])
      })

      test("behind a gap nothing is stored", async () => {
        const claim = await start()
        const lease = leaseOf(claim)
        const events = [log(1), log(2), log(4)]
        expect(await store.appendEvents([{ lease, events }])).toEqual([{ lease, storedSeq: 2 }])
        expect(await store.events(claim.request.sequence)).toHaveLength(2)
        const rest = [log(3), log(4)]
        expect(await store.appendEvents([{ lease, events: rest }])).toEqual([
          { lease, storedSeq: 4 },
        ])
      })

      test("events of a lease that is not held are ignored", async () => {
        const lost = await start()
        const held = await start()
        await settle(lost)
        const batches = [lost, held].map((claim) => ({ lease: leaseOf(claim), events: [log(1)] }))
        expect(await store.appendEvents(batches)).toEqual([{ lease: leaseOf(held), storedSeq: 1 }])
        expect(await store.events(lost.request.sequence)).toEqual([])
      })

      test("a note comes after what its attempt said, and each attempt counts from one", async () => {
        const claim = await start()
        const { sequence } = claim.request
        await store.appendEvents([{ lease: leaseOf(claim), events: [log(1), log(2)] }])
        await store.endAttempts("s1", "lost")
        now += backoffMsMax
        await store.openSession(newHello("s2"))
        const second = await claimOne("s2")
        const batch = { lease: leaseOf(second), events: [log(1)] }
        expect(await store.appendEvents([batch])).toEqual([{ lease: batch.lease, storedSeq: 1 }])
        const stored = await store.events(sequence)
        expect(stored.map(({ attempt, source }) => `${attempt} ${source}`)).toEqual([
          "1 app",
          "1 app",
          "1 gateway",
          "2 app",
        ])
        expect(await store.events(sequence, { attempt: 1, seq: 7 })).toHaveLength(2)
      })

      test("a resumed session keeps what it holds, abandons the rest, gets what it never saw", async () => {
        const held = await start()
        const unacked = await start()
        const unseen = await start()
        const settled = await start()
        await settle(settled)
        await store.appendEvents([{ lease: leaseOf(held), events: [log(1)] }])
        await store.cancel({ id: unacked.request.id, cause: "client_cancelled" })
        const foreign = newLease()
        const resumed = await store.openSession(
          newHello("s1", {
            held: [
              { lease: leaseOf(held), attempt: 1, nextSeq: 4 },
              { lease: foreign, attempt: 1, nextSeq: 1 },
            ],
            unacked: [leaseOf(unacked), leaseOf(settled)],
          }),
        )
        const cancelled = await store.request(unacked.request.id)
        expect(resumed.keep).toEqual([
          { lease: leaseOf(held), request: held.request, storedSeq: 1 },
          { lease: leaseOf(unacked), request: cancelled, storedSeq: 0 },
        ])
        expect(resumed.abandon).toEqual([foreign, leaseOf(settled)])
        expect(resumed.reassign).toEqual([unseen])
      })

      test("another session's lease is not kept", async () => {
        const claim = await start()
        const held = [{ lease: leaseOf(claim), attempt: 1, nextSeq: 1 }]
        const resumed = await store.openSession(newHello("s2", { held }))
        expect(resumed).toEqual({
          expired: false,
          keep: [],
          abandon: [leaseOf(claim)],
          reassign: [],
        })
      })

      test("a session that was lost stays dead: everything is abandoned", async () => {
        const claim = await start()
        await store.endAttempts("s1", "lost")
        expect(await store.sessions()).toEqual([])
        const held = [{ lease: leaseOf(claim), attempt: 1, nextSeq: 1 }]
        const resumed = await store.openSession(newHello("s1", { held, unacked: ["u"] }))
        expect(resumed).toEqual({
          expired: true,
          keep: [],
          abandon: [leaseOf(claim), "u"],
          reassign: [],
        })
        expect(await store.sessions()).toEqual([])
      })

      test("a session's row tells its runner and when it was last renewed", async () => {
        now += 5_000
        await store.renewSessions(["s1", "unknown"])
        const { runner } = newHello("s1")
        expect(await store.sessions()).toEqual([
          { session: "s1", key: null, runner, apps: [app], renewedAt: now },
        ])
      })

      test("a session is its key's alone: nothing of it is told to another, and nothing of it changes", async () => {
        await store.openSession(newHello("s2", { key: "k1", apps: ["acme/mine"] }))
        const claim = await start()
        for (const [session, key] of [
          ["s1", "k1"],
          ["s2", "k2"],
          ["s2", null],
        ] as const) {
          const held = [{ lease: leaseOf(claim), attempt: 1, nextSeq: 1 }]
          const stolen = await store.openSession(newHello(session, { key, held }))
          expect(stolen).toEqual({
            expired: true,
            keep: [],
            abandon: [leaseOf(claim)],
            reassign: [],
          })
        }
        expect(await store.sessions()).toMatchObject([
          { session: "s1", key: null, apps: [app] },
          { session: "s2", key: "k1", apps: ["acme/mine"] },
        ])
        expect((await store.openSession(newHello("s2", { key: "k1" }))).expired).toBe(false)
        expect((await store.openSession(newHello("s1"))).reassign).toEqual([claim])
      })
    })

    describe("apps, files and start-up", () => {
      test("an app with the same content keeps its revision, a changed one gets the next", async () => {
        const row = {
          id: app,
          endpoints: [app],
          openapi: {},
          metadata: { title: "A" },
          revision: 0,
        }
        await store.putApp(row)
        await store.putApp(row)
        expect(await store.app(app)).toEqual({ ...row, revision: 1 })
        await store.putApp({ ...row, metadata: { title: "B" } })
        expect(await store.apps()).toEqual([{ ...row, metadata: { title: "B" }, revision: 2 }])
        expect(await store.app("no/such")).toBeNull()
      })

      test("a blob is referenced by an input, an output or a file", async () => {
        const claim = await start({ input: { blob: "in", bytes: 5 } })
        const body = { blob: "out", bytes: 9 }
        await settle(claim, { kind: "answered", status: 200, headers: {}, body, inferenceMs: 1 })
        const file = {
          name: "cat.png",
          account: "local",
          blobs: [{ name: "file", bytes: 3 }],
          bytes: 3,
        }
        const life = { createdAt: now, expiresAt: null, acl: null }
        const row = { ...file, contentType: "image/png", request: null, ...life }
        await store.addFile(row)
        expect(await store.file("cat.png")).toEqual(row)
        expect(await store.file("dog.png")).toBeNull()
        expect(await store.unreferencedBlobs(["in", "orphan", "out", "file"])).toEqual(["orphan"])
      })

      test("a start ends runs and streams, queued and running, and nothing else", async () => {
        const running = await start({ door: "run" })
        const kept = await start()
        const queued = await store.submit(newRequest({ door: "run" }))
        const stream = await store.submit(newRequest({ door: "stream" }))
        const waiting = await store.submit(newRequest())
        expect(await store.recover()).toEqual({ ended: 3 })
        for (const { id } of [running.request, queued, stream]) {
          expect(await store.request(id)).toMatchObject({
            state: "cancelled",
            outcome: { errorType: "client_disconnected" },
          })
        }
        expect(await store.request(kept.request.id)).toEqual(kept.request)
        expect(await store.positions([waiting.id])).toEqual([0])
        expect(await settle(running)).toBe("stale")
      })
    })

    describe("order", () => {
      test(
        "positions equal a naive sort at random moments of random work",
        { timeout: 60_000 },
        async () => {
          const seed = Number(process.env["TINTYPE_SEED"] ?? randomBytes(4).readUInt32LE())
          const random = seeded(seed)
          const live = new Map<string, RequestRecord>()
          const note = () => {
            for (const record of opened.committed.splice(0).flat()) live.set(record.id, record)
          }
          for (let round = 0; round < 40; round += 1) {
            const work: Promise<unknown>[] = []
            // Every third round piles many accounts on few turns, so that nodes of the counts split.
            const accounts = round % 3 === 0 ? 2_000 : 3
            for (let count = random(240); count > 0; count -= 1) {
              const door = random(12) === 0 ? "run" : "queue"
              const priority = random(4) === 0 ? "low" : "normal"
              const account = `account-${random(accounts)}`
              work.push(store.submit(newRequest({ door, priority, account })))
            }
            const known = [...live.keys()]
            for (let count = random(20); count > 0 && known.length > 0; count -= 1) {
              const id = known[random(known.length)] ?? ""
              work.push(store.cancel({ id, cause: "client_cancelled" }))
            }
            const leases = Array.from({ length: random(round % 5 === 0 ? 400 : 60) }, newLease)
            work.push(store.claim({ session: `s${round}`, apps: [app], leases }))
            await store.openSession(newHello(`s${round + 1}`))
            if (round > 1 && random(3) === 0) {
              work.push(store.endAttempts(`s${round - 1}`, random(2) === 0 ? "lost" : "stopped"))
            }
            await Promise.all(work)
            note()
            const queued = [...live.values()].filter((record) => record.state === "queued")
            const order = queued.toSorted(comparePlaces).map((record) => record.id)
            const message = `seed ${seed}, round ${round}`
            expect([message, ...(await store.positions(order))]).toEqual([message, ...order.keys()])
            expect([message, await store.queueLength(app)]).toEqual([message, order.length])
          }
        },
      )

      test(
        "one slot, 10,000 requests of 50 accounts: they start in the order of their positions",
        { timeout: 60_000 },
        async () => {
          const records = await Promise.all(
            Array.from({ length: 10_000 }, (_, index) =>
              store.submit(newRequest({ account: `account-${(index * index) % 50}` })),
            ),
          )
          const ids = records.map((record) => record.id)
          const positions = await store.positions(ids)
          const byPosition = ids
            .map((id, index) => ({ id, position: positions[index] ?? -1 }))
            .toSorted((a, b) => a.position - b.position)
          const started: string[] = []
          while (started.length < ids.length) {
            const claims = await Promise.all(Array.from({ length: 500 }, () => claimOne()))
            started.push(...claims.flatMap((claim) => claim?.request.id ?? []))
          }
          expect(started).toEqual(byPosition.map(({ id }) => id))
          const account = (id: string) => records.find((record) => record.id === id)?.account
          // Fairness: whoever waits is served once before anybody is served twice.
          const first = started.slice(0, 22).map(account)
          expect(new Set(first).size).toBe(first.length)
        },
      )
    })
  })
}
