import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { SubmitIdentity } from "../domain/idempotency.ts"
import type { NewRequest } from "../domain/request.ts"
import type { ClaimOrder, Store } from "../store.ts"
import {
  bytes,
  newHello,
  newLease,
  newRequest,
  type OpenedStore,
  type OpenStore,
  seeded,
} from "./store.suite.ts"

const apps = ["acme/painter", "acme/writer"]
const seeds = [1, 2, 3, 4, 5, 6, 7, 8]
const stepsASeed = 60
const clock = () => 1_000_000

type Step =
  | { name: "submit"; request: NewRequest }
  | { name: "claim"; order: ClaimOrder }
  | { name: "settle"; nth: number }

/** One of what may stand around a submit and its claim: other apps, keys that come again, sessions that are over. */
function randomSteps(pick: (limit: number) => number): Step[] {
  return Array.from({ length: stepsASeed }, (): Step => {
    const kind = pick(10)
    if (kind === 9) return { name: "settle", nth: pick(20) }
    if (kind < 5) {
      const request = newRequest({
        app: apps[pick(2)]!,
        account: pick(3) === 0 ? "other" : "local",
        priority: pick(4) === 0 ? "low" : "normal",
        door: pick(5) === 0 ? "run" : "queue",
        identity: randomIdentity(pick),
        queueLengthMax: pick(6) === 0 ? pick(3) : null,
        input: { inline: bytes(`{"n":${pick(100)}}`) },
      })
      return { name: "submit", request }
    }
    const session = pick(8) === 0 ? "over" : "s1"
    const leases = Array.from({ length: 1 + (pick(4) === 0 ? pick(3) : 0) }, newLease)
    const asked = pick(4) === 0 ? apps : [apps[pick(2)]!]
    return { name: "claim", order: { session, apps: asked, leases } }
  })
}

function randomIdentity(pick: (limit: number) => number): SubmitIdentity {
  if (pick(5) === 0) return { key: `key-${pick(3)}`, bodyHash: `hash-${pick(2)}` }
  return { fingerprint: `print-${pick(1_000)}`, resendsBlindly: pick(2) === 0 }
}

/** Performs a step and tells what came of it, an error too. */
async function perform(store: Store, step: Step, leases: string[]): Promise<unknown> {
  try {
    if (step.name === "submit") {
      const { id, account, app, turn, sequence } = await store.submit(step.request)
      return { id, account, app, turn, sequence }
    }
    if (step.name === "claim") return await store.claim(step.order)
    const lease = leases[step.nth] ?? "none"
    const result = {
      kind: "answered",
      status: 200,
      headers: {},
      body: { inline: bytes("{}") },
      inferenceMs: 1,
    } as const
    return await store.settle({ lease, session: "s1", result })
  } catch (error) {
    return String(error)
  }
}

/** However writes are gathered into commits, for every adapter. */
export function describeBatches(name: string, open: OpenStore): void {
  describe(`store, batches: ${name}`, () => {
    let together: OpenedStore
    let apart: OpenedStore

    async function openBoth(concurrencyMax: number): Promise<void> {
      together = await open({ clock, concurrencyMax })
      apart = await open({ clock, concurrencyMax })
      for (const { store } of [together, apart]) await store.openSession(newHello("s1", { apps }))
    }

    beforeEach(async () => await openBoth(0))

    afterEach(async () => {
      await Promise.all([together.store.close(), apart.store.close()])
    })

    /** Runs the same steps in one commit and in as many as there are steps. */
    async function compare(seed: number): Promise<{ one: unknown[]; many: unknown[] }> {
      const steps = randomSteps(seeded(seed))
      const leases = steps.flatMap((step) => (step.name === "claim" ? step.order.leases : []))
      const inOne = await Promise.all(steps.map((step) => perform(together.store, step, leases)))
      const inMany: unknown[] = []
      for (const step of steps) inMany.push(await perform(apart.store, step, leases))
      const ids = steps.flatMap((step) => (step.name === "submit" ? [step.request.id] : []))
      const reads = [...ids.map(readRequest), ...apps.map(readQueue), readPositions(ids)]
      const readAll = async ({ store }: OpenedStore) =>
        await Promise.all(reads.map((read) => read(store)))
      return {
        one: [...inOne, ...(await readAll(together))],
        many: [...inMany, ...(await readAll(apart))],
      }
    }

    test.each(seeds)("what one commit does, as many commits do (seed %i)", async (seed) => {
      const { one, many } = await compare(seed)
      expect(one).toEqual(many)
    })

    test.each(seeds)("so it is under a limit of concurrency (seed %i)", async (seed) => {
      await Promise.all([together.store.close(), apart.store.close()])
      await openBoth(2)
      const { one, many } = await compare(seed)
      expect(one).toEqual(many)
    })

    test("a submit that a claim of the same tick takes is never seen queued", async () => {
      const { store, committed } = together
      committed.length = 0
      const request = newRequest()
      const submitted = store.submit(request)
      const [claim] = await store.claim({ session: "s1", apps, leases: [newLease()] })
      expect(claim?.request.id).toBe(request.id)
      expect(claim?.input).toEqual(request.input)
      expect(claim?.headers).toEqual(request.headers)
      expect((await submitted).id).toBe(request.id)
      expect(committed.flat().map(({ state }) => state)).toEqual(["running"])
    })

    test("a submit whose id exists fails alone (the claim behind it takes what is queued)", async () => {
      const { store } = together
      const request = newRequest({ app: apps[0]! })
      await store.submit(request)
      const again = store.submit({ ...request, app: apps[1]! })
      const claimed = store.claim({ session: "s1", apps: [apps[1]!], leases: [newLease()] })
      await expect(again).rejects.toThrow("UNIQUE")
      expect(await claimed).toEqual([])
      expect(await store.positions([request.id])).toEqual([0])
    })
  })
}

function readRequest(id: string) {
  return async (store: Store) => {
    const record = await store.request(id)
    if (record === null) return null
    const input = await store.body(record.sequence, "input")
    return { record, input, attempts: await store.attempts(record.sequence) }
  }
}

function readQueue(app: string) {
  return async (store: Store) => await store.queueLength(app)
}

function readPositions(ids: string[]) {
  return async (store: Store) => await store.positions([...new Set(ids)])
}
