import { randomUUID } from "node:crypto"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { NewRequest } from "../domain/request.ts"
import type { Claim, NewKey, Store } from "../store.ts"
import {
  bytes,
  newHello,
  newLease,
  newRequest,
  type OpenedStore,
  type OpenStore,
} from "./store.suite.ts"

const app = newRequest().app

export function newKey(fields: Partial<NewKey> = {}): NewKey {
  return {
    id: randomUUID(),
    secretHash: "5ec4e7",
    scope: "api",
    name: "a key",
    account: "local",
    apps: [],
    limits: { concurrencyMax: null, requestsPerSecondMax: null, bodyBytesMax: null },
    ...fields,
  }
}

function idsOf(claims: Claim[]): string[] {
  return claims.map(({ request }) => request.id)
}

/** The laws of `store.ts` about keys, accounts and concurrency, for every adapter. */
export function describeLimits(name: string, open: OpenStore): void {
  describe(`store, keys and limits: ${name}`, () => {
    let now = 1_000_000
    let opened: OpenedStore
    let store: Store

    async function reopen(concurrencyMax: number): Promise<void> {
      opened = await open({ clock: () => now, concurrencyMax })
      store = opened.store
      await store.recover()
      await store.openSession(newHello("s1"))
    }

    beforeEach(async () => {
      now = 1_000_000
      await reopen(2)
    })

    afterEach(async () => {
      await store.close()
    })

    async function claim(count: number, apps = [app]): Promise<Claim[]> {
      return await store.claim({
        session: "s1",
        apps,
        leases: Array.from({ length: count }, newLease),
      })
    }

    async function submit(count: number, fields: Partial<NewRequest> = {}): Promise<string[]> {
      const records = await Promise.all(
        Array.from({ length: count }, () => store.submit(newRequest(fields))),
      )
      return records.map((record) => record.id)
    }

    async function settle({ request }: Claim): Promise<void> {
      const result = {
        kind: "answered",
        status: 200,
        headers: {},
        body: { inline: bytes("{}") },
        inferenceMs: 1,
      } as const
      await store.settle({ lease: request.attempt!.lease, session: "s1", result })
    }

    describe("keys", () => {
      test("a key is read back as it was made, with its times and version", async () => {
        expect(await store.anyKey()).toBe(false)
        const key = newKey({ scope: "runner", account: "acme", apps: ["acme/*"] })
        const row = await store.createKey(key)
        const times = { createdAt: now, revokedAt: null, lastUsedAt: null, version: 1 }
        expect(row).toEqual({ ...key, ...times })
        expect(await store.key(key.id)).toEqual(row)
        expect(await store.keys()).toEqual([row])
        expect(await store.anyKey()).toBe(true)
        expect(await store.key("unknown")).toBeNull()
      })

      test("a second key of an account, and the same id twice", async () => {
        const key = newKey({ account: "acme" })
        await store.createKey(key)
        now += 1
        await store.createKey(newKey({ account: "acme" }))
        await expect(store.createKey(key)).rejects.toThrow(/UNIQUE/)
        expect(await store.keys()).toHaveLength(2)
      })

      test("a revoked key is dead for good, and the first revocation's time stays", async () => {
        const { id } = await store.createKey(newKey())
        now += 5
        const revoked = await store.revokeKey(id)
        expect(revoked).toMatchObject({ id, revokedAt: now, version: 2 })
        now += 5
        expect(await store.revokeKey(id)).toEqual(revoked)
        expect(await store.anyKey()).toBe(false)
        expect(await store.revokeKey("unknown")).toBeNull()
      })

      test("the time of the last use only goes forward and is no new version", async () => {
        const { id } = await store.createKey(newKey())
        await store.touchKeys([
          { id, at: 70 },
          { id: "unknown", at: 70 },
        ])
        await store.touchKeys([{ id, at: 60 }])
        expect(await store.key(id)).toMatchObject({ lastUsedAt: 70, version: 1 })
      })
    })

    describe("concurrency", () => {
      test("an account's requests wait at its limit, in order, and start as others end", async () => {
        const ids = await submit(5)
        const [first, second, ...none] = await claim(5)
        expect([first!.request.id, second!.request.id, none]).toEqual([ids[0], ids[1], []])
        expect(await claim(5)).toEqual([])
        await settle(second!)
        const [third] = await claim(5)
        expect(third!.request.id).toBe(ids[2])
        expect(third!.request.attempts).toBe(1)
        expect(await claim(5)).toEqual([])
        await settle(first!)
        await settle(third!)
        expect(idsOf(await claim(5))).toEqual([ids[3], ids[4]])
      })

      test("an account at its limit holds up nobody else, however long its queue (20,000)", async () => {
        await submit(20_000, { account: "flood" })
        await claim(2)
        const ids = await submit(300, { account: "other" })
        const startedAt = performance.now()
        for (const id of ids) {
          const [own, ...rest] = await claim(1)
          expect([own?.request.id, rest]).toEqual([id, []])
          await settle(own!)
        }
        expect((performance.now() - startedAt) / ids.length).toBeLessThan(50)
      })

      test("claims of one batch count each other", async () => {
        await submit(4)
        const claims = await Promise.all([claim(1), claim(1), claim(1)])
        expect(claims.map((one) => one.length)).toEqual([1, 1, 0])
      })

      test("the limit spans apps, and the apps where others may go are told after the commit", async () => {
        await submit(3)
        await submit(2, { app: "acme/other" })
        const claims = await claim(9, [app, "acme/other"])
        expect(claims.map(({ request }) => request.app)).toEqual([app, "acme/other"])
        expect(opened.freed.splice(0)).toEqual([])
        await settle(claims[0]!)
        expect(opened.freed.flat().toSorted()).toEqual(["acme/other", app])
      })

      test.each(["lost", "stopped"] as const)(
        "an attempt that is %s gives its place back",
        async (cause) => {
          const ids = await submit(3)
          await claim(3)
          await store.endAttempts("s1", cause)
          await store.openSession(newHello("s2"))
          now += 3_600_000
          const leases = Array.from({ length: 3 }, newLease)
          const again = await store.claim({ session: "s2", apps: [app], leases })
          expect(idsOf(again)).toEqual([ids[0], ids[1]])
        },
      )

      test("cancelling the head of a waiting queue lets the next one be the head", async () => {
        const ids = await submit(4)
        const [first] = await claim(2)
        await store.cancel({ id: ids[2]!, cause: "client_cancelled" })
        await settle(first!)
        expect(idsOf(await claim(2))).toEqual([ids[3]])
      })

      test.each(["run", "stream"] as const)(
        "who waits on the line is refused at the limit, in the submit itself, without a trace [%s]",
        async (door) => {
          const both = await Promise.allSettled([
            store.submit(newRequest({ door })),
            store.submit(newRequest()),
            store.submit(newRequest({ door: "run" })),
            store.submit(newRequest({ door })),
          ])
          expect(both.map(({ status }) => status)).toEqual([
            "fulfilled",
            "fulfilled",
            "fulfilled",
            "rejected",
          ])
          expect(both[3]).toMatchObject({ reason: { code: "limited" } })
          expect(await store.queueLength(app)).toBe(3)
          const claims = await claim(5)
          expect(claims.map(({ request }) => request.door)).toEqual([door, "run"])
          await expect(store.submit(newRequest({ door }))).rejects.toMatchObject({
            code: "limited",
          })
          await store.submit(newRequest({ door, account: "other" }))
          await settle(claims[0]!)
          await store.submit(newRequest({ door }))
        },
      )

      test("a key narrows its account's limit and is held by it", async () => {
        const limits = { concurrencyMax: 1, requestsPerSecondMax: null, bodyBytesMax: null }
        const { id: key } = await store.createKey(newKey({ limits }))
        const narrow = await submit(3, { key })
        const wide = await submit(3)
        const claims = await claim(5)
        expect(idsOf(claims)).toEqual([narrow[0], wide[0]])
        await settle(claims[1]!)
        expect(idsOf(await claim(5))).toEqual([wide[1]])
        await settle(claims[0]!)
        expect(idsOf(await claim(5))).toEqual([narrow[1]])
        await expect(store.submit(newRequest({ key, door: "run" }))).rejects.toMatchObject({
          code: "limited",
        })
      })

      test("without a limit only a key's own counts", async () => {
        await store.close()
        await reopen(0)
        const limits = { concurrencyMax: 1, requestsPerSecondMax: null, bodyBytesMax: null }
        const { id: key } = await store.createKey(newKey({ limits }))
        const narrow = await submit(2, { key })
        const wide = await submit(3)
        const claimed = new Set(idsOf(await claim(9)))
        expect(claimed).toEqual(new Set([narrow[0], ...wide]))
      })
    })
  })
}
