import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Acl } from "../domain/files/object-lifecycle.ts"
import type { Body } from "../domain/request.ts"
import { largeResultBytes, type Pruned, type RetentionPolicy } from "../domain/retention.ts"
import type { Claim, FileRow, NewRequest, Store } from "../store.ts"
import { bytes, newHello, newLease, newRequest, type OpenStore } from "./store.suite.ts"

const app = newRequest().app
const webhook = "https://example.com/hook"
const day = 24 * 3_600_000

const policy: RetentionPolicy = {
  requestMs: 30 * day,
  inputMs: 0,
  resultMs: 0,
  unstoredResultMs: 3_600_000,
  unstoredLargeResultMs: 360_000,
}

const nothing = { requests: 0, inputs: 0, results: 0, files: 0, uploads: 0, blobs: [], more: false }

/** The laws of `store.ts` about what is removed, for every adapter. */
export function describeRetention(name: string, open: OpenStore): void {
  describe(`store, retention: ${name}`, () => {
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
      await store.submit(newRequest(fields))
      const [claim] = await store.claim({ session: "s1", apps: [app], leases: [newLease()] })
      if (claim === undefined) throw new Error("Nothing was claimed")
      return claim
    }

    async function settle(
      { request }: Pick<Claim, "request">,
      body: Body = { inline: bytes("{}") },
    ) {
      const result = { kind: "answered", status: 200, headers: {}, body, inferenceMs: 1 } as const
      return await store.settle({ lease: request.attempt?.lease ?? "", session: "s1", result })
    }

    async function finish(fields: Partial<NewRequest> = {}, body?: Body) {
      const claim = await start(fields)
      await settle(claim, body)
      return claim.request
    }

    function slice(changes: Partial<RetentionPolicy> = {}, rowsMax = 1_000, budgetMs = 10_000) {
      return store.prune({ policy: { ...policy, ...changes }, rowsMax, budgetMs })
    }

    /** Slices until nothing is left. */
    async function pruneAll(changes: Partial<RetentionPolicy> = {}, rowsMax = 1_000) {
      const slices: Pruned[] = []
      do slices.push(await slice(changes, rowsMax))
      while (slices.at(-1)?.more === true)
      return slices
    }

    async function known(records: { id: string }[]): Promise<boolean[]> {
      const found = await Promise.all(records.map(({ id }) => store.request(id)))
      return found.map((record) => record !== null)
    }

    function delivered(sequence: number, number = 1) {
      const made = { at: now, durationMs: 1, status: 200, answer: "", error: null, detail: null }
      const retries = { retriesMax: 1, retryBaseMs: 1, retryDelayMaxMs: 1 }
      return store.recordTry({ sequence, number, made, policy: retries, random: 0 })
    }

    async function addFile(fields: Partial<FileRow> & { name: string }) {
      await store.addFile({
        account: "local",
        blobs: [{ name: `blob of ${fields.name}`, bytes: 1 }],
        bytes: 1,
        contentType: "image/png",
        request: null,
        createdAt: now,
        expiresAt: null,
        acl: null,
        ...fields,
      })
    }

    describe("a request", () => {
      test("is never removed before it has ended, however old [queued, backing off, running, asked to stop]", async () => {
        const backing = await start()
        const failed = { kind: "failed", reason: "timed_out", detail: "", inferenceMs: 1 } as const
        const lease = backing.request.attempt?.lease ?? ""
        await store.settle({ lease, session: "s1", result: failed })
        const running = await start()
        const asked = await start({ storeIo: false })
        await store.cancel({ id: asked.request.id, cause: "client_cancelled" })
        const queued = await store.submit(newRequest({ storeIo: false }))
        now += 1_000 * day
        expect(await slice({ requestMs: 1 })).toEqual(nothing)
        const alive = [backing.request, running.request, asked.request, queued]
        expect(await known(alive)).toEqual([true, true, true, true])
        for (const { sequence } of alive) expect(await store.body(sequence, "input")).not.toBeNull()
        expect(await settle(running)).toBe("settled")
        expect(await store.queueLength(app)).toBe(2)
      })

      test("goes with its time and not before, counted from its end", async () => {
        const claim = await start()
        now += 100 * day
        await settle(claim)
        now += policy.requestMs - 1
        expect(await slice()).toEqual(nothing)
        now += 1
        expect(await slice()).toEqual({ ...nothing, requests: 1 })
        expect(await slice()).toEqual(nothing)
      })

      test("that was removed is unknown everywhere, and its neighbours are as they were", async () => {
        const identity = { key: "once", bodyHash: "h" }
        const claim = await start({ webhook, identity })
        const { id, sequence, attempt } = claim.request
        const lease = attempt?.lease ?? ""
        const event = { seq: 1, at: 5, kind: "log", level: "INFO", message: "line" } as const
        await store.appendEvents([{ lease, events: [event] }])
        await settle(claim)
        await delivered(sequence)
        now += policy.requestMs
        const [young, queued] = [await finish(), await store.submit(newRequest())]
        expect(await slice()).toEqual({ ...nothing, requests: 1 })
        expect(await store.request(id)).toBeNull()
        expect(await store.body(sequence, "input")).toBeNull()
        expect(await store.body(sequence, "output")).toBeNull()
        expect(await store.events(sequence)).toEqual([])
        expect(await store.delivery(id)).toBeNull()
        expect(await store.deliveries({ account: "local", limit: 10 })).toEqual([])
        expect(await store.attempts(sequence)).toEqual([])
        const list = await store.requests({ account: "local", limit: 10 })
        expect(list.requests.map((record) => record.id)).toEqual([queued.id, young.id])
        expect((await store.submit(newRequest({ identity }))).id).not.toBe(id)
        expect(await store.leaseHolder(lease)).toBeNull()
        expect(await store.cancel({ id, cause: "client_cancelled" })).toMatchObject({
          result: "unknown",
        })
        expect(await settle(claim)).toBe("stale")
        expect(await delivered(sequence, 2)).toBe("unknown")
        expect(await store.requeueDelivery(id)).toBeNull()
        expect(await known([young, queued])).toEqual([true, true])
        expect(await store.positions([id, queued.id])).toEqual([null, 0])
        expect((await store.submit(newRequest())).sequence).toBeGreaterThan(queued.sequence)
      })

      test("goes by the settings of now, not by those of its end [shortened, lengthened, without limit]", async () => {
        const [old, young] = [await finish(), await finish()]
        now += day
        expect(await slice({ requestMs: 0 })).toEqual(nothing)
        expect(await slice({ requestMs: 2 * day })).toEqual(nothing)
        expect(await slice({ requestMs: day })).toMatchObject({ requests: 2 })
        expect(await known([old, young])).toEqual([false, false])
      })

      test.each(["cancelled in the queue", "failed before it started"])(
        "that never ran goes as well [%s]",
        async (how) => {
          const { id } = await store.submit(newRequest())
          if (how.startsWith("cancelled")) await store.cancel({ id, cause: "client_cancelled" })
          else await store.failQueued(id, "startup_timeout")
          now += policy.requestMs
          expect(await slice()).toEqual({ ...nothing, requests: 1 })
        },
      )
    })

    describe("payloads", () => {
      test("go at their own times, the status stays", async () => {
        const { id, sequence } = await finish()
        const before = await store.request(id)
        now += day
        const times = { inputMs: day, resultMs: 2 * day }
        expect(await slice(times)).toEqual({ ...nothing, inputs: 1 })
        expect(await store.body(sequence, "input")).toBeNull()
        expect(await store.body(sequence, "output")).not.toBeNull()
        now += day
        expect(await slice(times)).toEqual({ ...nothing, results: 1 })
        expect(await store.body(sequence, "output")).toBeNull()
        expect(await store.request(id)).toEqual(before)
        now += 28 * day
        expect(await slice(times)).toEqual({ ...nothing, requests: 1 })
      })

      test("that are not to be kept: the input goes at the end, the result soon, a large one sooner", async () => {
        const small = await finish({ storeIo: false }, { inline: bytes("x".repeat(9_999)) })
        const large = await finish(
          { storeIo: false },
          { inline: bytes("x".repeat(largeResultBytes)) },
        )
        const kept = await finish()
        expect(await store.request(small.id)).toMatchObject({ storeIo: false })
        expect(await slice()).toEqual({ ...nothing, inputs: 2 })
        now += policy.unstoredLargeResultMs - 1
        expect(await slice()).toEqual(nothing)
        now += 1
        expect(await slice()).toEqual({ ...nothing, results: 1 })
        expect(await store.body(large.sequence, "output")).toBeNull()
        now += policy.unstoredResultMs
        expect(await slice()).toEqual({ ...nothing, results: 1 })
        expect(await store.body(small.sequence, "output")).toBeNull()
        expect(await store.body(kept.sequence, "input")).not.toBeNull()
        expect(await store.body(kept.sequence, "output")).not.toBeNull()
        expect(await known([small, large, kept])).toEqual([true, true, true])
      })

      test("stay while a delivery is pending, also when they are not to be kept, and go when it is over", async () => {
        const request = await finish({ storeIo: false, webhook })
        now += 1_000 * day
        expect(await slice()).toEqual(nothing)
        expect(await store.body(request.sequence, "output")).not.toBeNull()
        expect(await store.delivery(request.id)).toMatchObject({ delivery: { state: "pending" } })
        expect(await delivered(request.sequence)).toMatchObject({ state: "delivered" })
        expect(await slice()).toEqual({ ...nothing, requests: 1 })
      })

      test("stay while a try has failed and another is to come, and while it is sent once more", async () => {
        const { id, sequence } = await finish({ storeIo: false, webhook })
        const made = { at: now, durationMs: 1, status: 500, answer: "", error: null, detail: null }
        const retries = { retriesMax: 1, retryBaseMs: 1, retryDelayMaxMs: 1 }
        await store.recordTry({ sequence, number: 1, made, policy: retries, random: 0 })
        now += day
        expect(await slice()).toEqual(nothing)
        await store.recordTry({ sequence, number: 2, made, policy: retries, random: 0 })
        await store.requeueDelivery(id)
        expect(await slice()).toEqual(nothing)
        await delivered(sequence, 3)
        expect(await slice()).toEqual({ ...nothing, inputs: 1, results: 1 })
      })
    })

    describe("blobs", () => {
      test("are told when no row names them any more, once", async () => {
        const input = { blob: "in", bytes: 70_000 }
        await finish({ input }, { blob: "out", bytes: 80_000 })
        await addFile({ name: "a", blobs: [{ name: "file", bytes: 1 }], expiresAt: now + 1 })
        now += policy.requestMs
        const slices = await pruneAll()
        expect(slices.flatMap(({ blobs }) => blobs).toSorted()).toEqual(["file", "in", "out"])
        expect(await store.unreferencedBlobs(["in", "out", "file"])).toHaveLength(3)
      })

      test("that another row names stay until that one is gone [in one slice, in several]", async () => {
        for (const rowsMax of [1_000, 1]) {
          const shared = { blob: `shared ${rowsMax}`, bytes: 70_000 }
          await finish({ input: shared })
          now += day
          await finish({ input: shared })
          const named = [{ name: shared.blob, bytes: shared.bytes }]
          await addFile({ name: `f${rowsMax}`, blobs: named, expiresAt: now + 40 * day })
          now += 29 * day
          expect((await pruneAll({}, rowsMax)).flatMap(({ blobs }) => blobs)).toEqual([])
          expect(await store.unreferencedBlobs([shared.blob])).toEqual([])
          now += 30 * day
          const slices = await pruneAll({}, rowsMax)
          expect(slices.flatMap(({ blobs }) => blobs)).toEqual([shared.blob])
        }
      })
    })

    describe("files", () => {
      test("go when they expire, whether or not their request is there, and only then", async () => {
        await addFile({ name: "never" })
        await addFile({ name: "later", expiresAt: now + 2 })
        await addFile({ name: "soon", expiresAt: now + 1 })
        expect(await slice()).toEqual(nothing)
        now += 1
        expect(await slice()).toEqual({ ...nothing, files: 1, blobs: ["blob of soon"] })
        expect(await store.file("soon")).toBeNull()
        now += 1_000 * day
        expect(await slice()).toEqual({ ...nothing, files: 1, blobs: ["blob of later"] })
        expect(await store.file("never")).not.toBeNull()
      })

      test("keep their access list, without rules for users that there are none of", async () => {
        const limits = { concurrencyMax: null, requestsPerSecondMax: null, bodyBytesMax: null }
        const key = { id: "k", secretHash: "h", scope: "api", name: "", apps: [], limits } as const
        await store.createKey({ ...key, apps: [], account: "ann" })
        const rules: Acl["rules"] = [
          { user: "nobody", decision: "allow" },
          { user: "ann", decision: "allow" },
        ]
        await addFile({ name: "f", acl: { default: "hide", rules }, expiresAt: now + 5 })
        expect(await store.file("f")).toMatchObject({
          expiresAt: now + 5,
          acl: { default: "hide", rules: [{ user: "ann", decision: "allow" }] },
        })
      })

      test("get what their request says of them", async () => {
        const lifecycle = { expirationMs: 60_000, acl: { default: "forbid", rules: [] } } as const
        const { request } = await start({
          lifecycle: { ...lifecycle, acl: { ...lifecycle.acl, rules: [] } },
        })
        expect(request.lifecycle).toEqual(lifecycle)
        expect(await store.leaseHolder(request.attempt?.lease ?? "")).toMatchObject({ lifecycle })
      })
    })

    describe("a slice", () => {
      test("removes so many rows, the oldest first, whatever kind they are", async () => {
        const order: { id: string }[] = []
        for (let at = 0; at < 7; at += 1) {
          order.push(await finish({ storeIo: at % 2 === 0 }))
          now += 1
        }
        now += policy.requestMs
        for (let removed = 2; removed <= 6; removed += 2) {
          expect(await slice({}, 2)).toMatchObject({ requests: 2, more: true })
          expect(await known(order)).toEqual(order.map((_, at) => at >= removed))
        }
        expect(await pruneAll({}, 2)).toMatchObject([{ requests: 1 }])
      })

      test("without time or rows still removes one: it always gets on", async () => {
        await finish()
        await addFile({ name: "f", expiresAt: now })
        now += policy.requestMs
        expect(await slice({}, 1_000, 0)).toMatchObject({ requests: 1, files: 0, more: true })
        expect(await slice({}, 0)).toMatchObject({ requests: 0, files: 1 })
      })

      test("takes the log of a chatty request piece by piece, and the request after it", async () => {
        const claim = await start()
        const { id, sequence, attempt } = claim.request
        const events = Array.from({ length: 1_000 }, (_, at) => {
          return { seq: at + 1, at: 5, kind: "log", level: "INFO", message: "line" } as const
        })
        await store.appendEvents([{ lease: attempt?.lease ?? "", events }])
        await settle(claim)
        now += policy.requestMs
        const left: number[] = []
        for (let more = true; more;) {
          const pruned = await slice({}, 2)
          more = pruned.more
          left.push((await store.events(sequence)).length)
          expect(await known([{ id }])).toEqual([pruned.requests === 0 && more])
          if (pruned.requests > 0) break
        }
        expect(left.length).toBeGreaterThan(2)
        expect(left.at(-1)).toBe(0)
        expect(left.every((count, at) => at === 0 || count < (left[at - 1] ?? 0))).toBe(true)
      })

      test("stands between submits and claims without mixing them up", async () => {
        for (let at = 0; at < 300; at += 1) await finish()
        now += policy.requestMs
        const ids: string[] = []
        let removed = 0
        for (let more = true; more;) {
          const request = newRequest()
          const [record, pruned, claims] = await Promise.all([
            store.submit(request),
            slice({}, 7),
            store.claim({ session: "s1", apps: [app], leases: [newLease()] }),
          ])
          ids.push(record.id)
          expect(claims.map((claim) => claim.request.id)).toEqual([record.id])
          removed += pruned.requests
          more = pruned.more
        }
        expect(removed).toBe(300)
        expect(await known(ids.map((id) => ({ id })))).toEqual(ids.map(() => true))
        expect(await store.queueLength(app)).toBe(0)
      })
    })
  })
}
