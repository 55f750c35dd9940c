import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { defaultConfig } from "../config.ts"
import { answerLossMs, type SubmitIdentity } from "../domain/idempotency.ts"
import type { NewRequest, RequestRecord } from "../domain/request.ts"
import type { Store } from "../store.ts"
import {
  bytes,
  newHello,
  newLease,
  newRequest,
  type OpenedStore,
  type OpenStore,
} from "./store.suite.ts"

const { keyTtlMs, resendWindowMs } = defaultConfig.idempotency

const keyed = (key: string, bodyHash = "h1"): SubmitIdentity => ({ key, bodyHash })
const unkeyed = (fingerprint = "f1", resendsBlindly = true): SubmitIdentity => ({
  fingerprint,
  resendsBlindly,
})

/** An attempt of what is next in the app, and its answer. */
async function answerNext(store: Store, app: string): Promise<void> {
  const [claim] = await store.claim({ session: "s1", apps: [app], leases: [newLease()] })
  const lease = claim?.request.attempt?.lease ?? ""
  const body = { inline: bytes("{}") }
  const result = { kind: "answered", status: 200, headers: {}, body, inferenceMs: 1 } as const
  await store.settle({ lease, session: "s1", result })
}

/** Guarantee 13 of `store.ts`. */
export function describeIdempotency(name: string, open: OpenStore): void {
  describe(`idempotency: ${name}`, () => {
    let now = 0
    let opened: OpenedStore
    let store: Store

    beforeEach(async () => {
      now = 1_000_000
      opened = await open({ clock: () => now })
      store = opened.store
      await store.recover()
      await store.openSession(newHello("s1"))
    })

    afterEach(async () => {
      await store.close()
    })

    async function submit(
      identity: SubmitIdentity,
      fields: Partial<NewRequest> = {},
    ): Promise<RequestRecord> {
      return await store.submit(newRequest({ identity, ...fields }))
    }

    describe("a key", () => {
      test("stands for its first request, for everyone at once and in whatever state it is", async () => {
        const all = await Promise.all(Array.from({ length: 10 }, () => submit(keyed("k"))))
        expect(new Set(all.map(({ id }) => id)).size).toBe(1)
        const first = all[0]!
        expect(await store.queueLength(first.app)).toBe(1)
        await store.cancel({ id: first.id, cause: "client_cancelled" })
        expect(await submit(keyed("k"))).toMatchObject({ id: first.id, state: "cancelled" })
      })

      test("is its account's and its endpoint's", async () => {
        const first = await submit(keyed("k"))
        const other = await submit(keyed("k"), { account: "other" })
        const elsewhere = await submit(keyed("k"), { endpoint: "acme/painter/small" })
        const another = await submit(keyed("K"))
        const ids = [first, other, elsewhere, another].map(({ id }) => id)
        expect(new Set(ids).size).toBe(4)
      })

      test("with another body is refused, alone, and nothing is written", async () => {
        const first = await submit(keyed("k", "h1"))
        const again = submit(keyed("k", "h2"))
        const innocent = submit(keyed("other", "h2"))
        await expect(again).rejects.toMatchObject({ code: "key_reused" })
        expect((await innocent).id).not.toBe(first.id)
        expect(await store.queueLength(first.app)).toBe(2)
        expect((await submit(keyed("k", "h1"))).id).toBe(first.id)
      })

      test("is free again after its time, and stands for the next request then", async () => {
        const first = await submit(keyed("k", "h1"))
        now += keyTtlMs - 1
        expect((await submit(keyed("k", "h1"))).id).toBe(first.id)
        now += 1
        const second = await submit(keyed("k", "h2"))
        expect(second.id).not.toBe(first.id)
        expect((await submit(keyed("k", "h2"))).id).toBe(second.id)
      })

      test.each(["queued", "running"])(
        "of a run that ended with its caller starts anew [%s]",
        async (state) => {
          const first = await submit(keyed("k", "h1"), { door: "run" })
          if (state === "running") {
            await store.claim({ session: "s1", apps: [first.app], leases: [newLease()] })
          }
          await store.cancel({ id: first.id, cause: "client_disconnected" })
          const second = await submit(keyed("k", "h2"), { door: "run" })
          expect(second.id).not.toBe(first.id)
          expect((await submit(keyed("k", "h2"))).id).toBe(second.id)
        },
      )

      test("is found before a limit refuses: the request is there already", async () => {
        const first = await submit(keyed("k"))
        await submit(keyed("k2"))
        expect((await submit(keyed("k"), { queueLengthMax: 0 })).id).toBe(first.id)
      })

      test("is never taken for a lost submit", async () => {
        const first = await submit(keyed("k"))
        expect(await store.markLost([first.id])).toEqual([])
      })
    })

    describe("a submit without a key", () => {
      test("is another request while the first is not lost", async () => {
        const all = await Promise.all(Array.from({ length: 4 }, () => submit(unkeyed())))
        expect(new Set(all.map(({ id }) => id)).size).toBe(4)
      })

      test("gets the request of an identical one that is lost, once", async () => {
        const first = await submit(unkeyed())
        expect(await store.markLost([first.id, "unknown"])).toEqual([first.id])
        expect((await submit(unkeyed("f2"))).id).not.toBe(first.id)
        const copies = await Promise.all([submit(unkeyed()), submit(unkeyed())])
        expect(copies[0].id).toBe(first.id)
        expect(copies[1].id).not.toBe(first.id)
      })

      test("that is lost in the tick in which it is submitted is found by the next one", async () => {
        const request = newRequest({ identity: unkeyed() })
        const submitted = store.submit(request)
        const lost = store.markLost([request.id])
        const again = submit(unkeyed())
        expect((await submitted).id).toBe(request.id)
        expect(await lost).toEqual([request.id])
        expect((await again).id).toBe(request.id)
      })

      test("can be lost again and again, and the window begins anew each time", async () => {
        const { id } = await submit(unkeyed())
        let newest = id
        for (let copy = 1; copy < 10; copy += 1) {
          expect(await store.markLost([newest])).toEqual([id])
          now += resendWindowMs
          newest = `copy-${copy}`
          expect((await submit(unkeyed(), { id: newest })).id).toBe(id)
        }
        await store.markLost([newest])
        now += resendWindowMs + 1
        expect((await submit(unkeyed())).id).not.toBe(id)
      })

      test("is one request however many copies of it are lost in the same tick", async () => {
        const copies = Array.from({ length: 5 }, () => newRequest({ identity: unkeyed() }))
        const work = copies.flatMap((copy) => [store.submit(copy), store.markLost([copy.id])])
        const found = (await Promise.all(work)).map((one) => (Array.isArray(one) ? one[0] : one.id))
        expect(new Set(found)).toEqual(new Set([copies[0]?.id]))
      })

      test("is not lost by what becomes of an older copy", async () => {
        const first = await submit(unkeyed())
        await store.markLost([first.id])
        const [second, third] = [newRequest(), newRequest()]
        expect((await submit(unkeyed(), { id: second.id })).id).toBe(first.id)
        expect(await store.markLost([first.id])).toEqual([])
        expect(await store.markLost([second.id])).toEqual([first.id])
        expect((await submit(unkeyed(), { id: third.id })).id).toBe(first.id)
        expect(await store.markLost([second.id])).toEqual([])
        expect((await submit(unkeyed())).id).not.toBe(first.id)
      })

      test("finds no request that a call has named, before or after it was lost", async () => {
        const [first, second] = [await submit(unkeyed()), await submit(unkeyed())]
        await Promise.all([store.markNamed([first.id]), store.renewSessions(["s1"])])
        expect(await store.markLost([first.id, second.id])).toEqual([second.id])
        const named = store.markNamed([second.id])
        const third = await submit(unkeyed())
        await named
        expect([first.id, second.id]).not.toContain(third.id)
      })

      test("finds a run that is over, and none that ended with its caller or will", async () => {
        const run = { door: "run" } as const
        const over = await submit(unkeyed(), run)
        await answerNext(store, over.app)
        const waiting = await submit(unkeyed("f2"), run)
        expect(await store.markLost([over.id, waiting.id])).toEqual([over.id])
        await store.cancel({ id: waiting.id, cause: "client_disconnected" })
        expect(await store.markLost([waiting.id])).toEqual([])
        expect((await submit(unkeyed(), run)).id).toBe(over.id)
        expect((await submit(unkeyed("f2"), run)).id).not.toBe(waiting.id)
      })

      test("that changes nothing is told to nobody, and what was named costs no flush", async () => {
        const { id } = await submit(unkeyed())
        await store.markLost([id])
        const told = opened.committed.length
        expect((await submit(unkeyed())).id).toBe(id)
        expect(opened.committed.length).toBe(told)
        const flushed = opened.commits()
        const named = store.markNamed([id])
        // A read goes behind whatever was written, were it on its way.
        await store.checkpoint()
        expect(opened.commits()).toBe(flushed)
        await store.renewSessions(["s1"])
        await named
        expect(opened.commits()).toBe(flushed + 1)
      })

      test("named last of all is committed by the close", async () => {
        const { id } = await submit(unkeyed())
        const named = store.markNamed([id])
        await store.close()
        await expect(named).resolves.toBeUndefined()
      })
    })
  })
}

/** How an adapter that writes its rows down is ended and opened again. */
export interface CrashSetup {
  newPath: () => string
  open: (path: string, clock: () => number, detectLost: boolean) => Promise<OpenedStore>
  /** The path of what is left when its process is killed now. */
  die: (path: string) => Promise<string>
}

/** What of guarantee 13 outlives the store. */
export function describeCrashLosses(name: string, { newPath, open, die }: CrashSetup): void {
  describe(`idempotency after a crash: ${name}`, () => {
    let now = 0
    let path = ""
    let store: Store
    const others: Store[] = []

    async function start(detectLost = true): Promise<void> {
      store = (await open(path, () => now, detectLost)).store
      others.push(store)
      await store.recover()
    }

    async function run(fingerprint: string): Promise<RequestRecord> {
      return await store.submit(newRequest({ door: "run", identity: unkeyed(fingerprint) }))
    }

    /** By a caller who does not send it again by itself. */
    async function submitOnce(fingerprint: string): Promise<RequestRecord> {
      return await store.submit(newRequest({ identity: unkeyed(fingerprint, false) }))
    }

    async function crash(downMs = 1_000): Promise<void> {
      path = await die(path)
      now += downMs
      await start()
    }

    beforeEach(async () => {
      now = 1_000_000
      path = newPath()
      await start()
      await store.openSession(newHello("s1"))
    })

    afterEach(async () => {
      for (const one of others.splice(0)) await one.close()
    })

    test("the un-named submits of the window before it are lost, and no others", async () => {
      const old = await store.submit(newRequest({ identity: unkeyed("old") }))
      now += resendWindowMs + 1
      const named = await store.submit(newRequest({ identity: unkeyed("named") }))
      const told = store.markNamed([named.id])
      const last = await store.submit(newRequest({ identity: unkeyed("last") }))
      await told
      await crash()
      const ids = { old: old.id, named: named.id, last: last.id }
      for (const [fingerprint, id] of Object.entries(ids)) {
        const again = await store.submit(newRequest({ identity: unkeyed(fingerprint) }))
        expect(again.id === id).toBe(fingerprint === "last")
      }
    })

    test("of callers who do not repeat blindly only what came in the last moment is lost", async () => {
      const answered = await submitOnce("answered")
      now += answerLossMs + 1
      const last = await submitOnce("last")
      await crash()
      expect((await submitOnce("answered")).id).not.toBe(answered.id)
      expect((await submitOnce("last")).id).toBe(last.id)
    })

    test("an old request whose copy came just before is lost with it", async () => {
      const { id } = await store.submit(newRequest({ identity: unkeyed() }))
      let newest = id
      for (let copy = 0; copy < 3; copy += 1) {
        await store.markLost([newest])
        now += 40_000
        newest = `copy-${copy}`
        await store.submit(newRequest({ identity: unkeyed(), id: newest }))
      }
      await crash()
      expect((await store.submit(newRequest({ identity: unkeyed() }))).id).toBe(id)
    })

    test("the window begins with the crash, not with the start", async () => {
      const { id } = await store.submit(newRequest({ identity: unkeyed() }))
      await crash(resendWindowMs + 1)
      expect((await store.submit(newRequest({ identity: unkeyed() }))).id).not.toBe(id)
    })

    test("a run that was open ends with its caller; one that was just answered is lost", async () => {
      const earlier = await run("earlier")
      await answerNext(store, earlier.app)
      now += 2_000
      const answered = await run("answered")
      await answerNext(store, answered.app)
      const waiting = await run("waiting")
      await crash()
      expect((await run("earlier")).id).not.toBe(earlier.id)
      expect((await run("answered")).id).toBe(answered.id)
      expect((await run("waiting")).id).not.toBe(waiting.id)
    })

    test("a clean end loses nothing but what was cut", async () => {
      const kept = await store.submit(newRequest({ identity: unkeyed("kept") }))
      const cut = await store.submit(newRequest({ identity: unkeyed("cut") }))
      await store.markLost([cut.id])
      await store.close()
      await start()
      expect((await store.submit(newRequest({ identity: unkeyed("kept") }))).id).not.toBe(kept.id)
      expect((await store.submit(newRequest({ identity: unkeyed("cut") }))).id).toBe(cut.id)
    })

    test("a key stands for its request in the next life", async () => {
      const { id } = await store.submit(newRequest({ identity: keyed("k") }))
      await crash()
      expect((await store.submit(newRequest({ identity: keyed("k") }))).id).toBe(id)
    })

    test("where nothing is to be detected, nothing is", async () => {
      const { id } = await store.submit(newRequest({ identity: unkeyed() }))
      path = await die(path)
      await start(false)
      await store.markLost([id])
      expect((await store.submit(newRequest({ identity: unkeyed() }))).id).not.toBe(id)
      expect((await store.submit(newRequest({ identity: keyed("k") }))).id).toBe(
        (await store.submit(newRequest({ identity: keyed("k") }))).id,
      )
    })
  })
}
