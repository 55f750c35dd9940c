import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { Door, Priority } from "./door.ts"
import { type Place, clockAfterStart, comparePlaces, headTurn, nextTurn } from "./turn.ts"

/**
 * One app with one slot, in memory: what any store must do with turns. Positions come from a list that is kept in
 * order; the oracle sorts everything anew, by the two numbers alone.
 */

interface Queued extends Place {
  account: string
  priority: Priority
  door: Door
}

class OneSlotQueue {
  readonly #lasts = new Map<string, number>()
  readonly #waiting: Queued[] = []
  #clock = 0
  #sequence = 0

  get length(): number {
    return this.#waiting.length
  }

  submit(call: Omit<Queued, keyof Place>): Queued {
    const lane = `${call.account} ${call.priority}`
    const last = this.#lasts.get(lane) ?? 0
    const turn = nextTurn(call.door, call.priority, { clock: this.#clock, last })
    if (call.door === "queue") this.#lasts.set(lane, turn)
    const queued = { ...call, turn, sequence: (this.#sequence += 1) }
    this.#insert(queued)
    return queued
  }

  start(): Queued | undefined {
    const head = this.#waiting.shift()
    if (head !== undefined) this.#clock = clockAfterStart(this.#clock, head.turn)
    return head
  }

  /** A lost attempt returns with the place that it had. */
  giveBack(lost: Queued): void {
    this.#insert(lost)
  }

  position(queued: Queued): number {
    return this.#findIndex(queued)
  }

  waiting(): Queued[] {
    return [...this.#waiting]
  }

  #insert(queued: Queued): void {
    this.#waiting.splice(this.#findIndex(queued), 0, queued)
  }

  /** How many places are before this one. */
  #findIndex(place: Place): number {
    let from = 0
    let to = this.#waiting.length
    while (from < to) {
      const middle = (from + to) >> 1
      if (comparePlaces(this.#waiting[middle]!, place) < 0) from = middle + 1
      else to = middle
    }
    return from
  }
}

/** Mulberry32: a seeded number in [0, 1) at each call. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Some accounts submit far more than others. */
function drawCall(random: () => number, runShare: number): Omit<Queued, keyof Place> {
  return {
    account: `account-${Math.floor(random() ** 2 * 50)}`,
    priority: random() < 0.3 ? "low" : "normal",
    door: random() < runShare ? "run" : "queue",
  }
}

/** The naive truth: everything that is queued, sorted by turn and, within, by sequence. */
function sortNaively(queued: Iterable<Queued>): Queued[] {
  return [...queued].toSorted((a, b) =>
    a.turn === b.turn ? a.sequence - b.sequence : a.turn - b.turn,
  )
}

test("10,000 requests of 50 accounts start in the order of their reported positions", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = randomFrom(seed)
      const queue = new OneSlotQueue()
      const requests: Queued[] = []
      // Some start while others arrive, so that turns were given at many states of the clock.
      while (queue.length < 10_000) {
        requests.push(queue.submit(drawCall(random, 0.02)))
        if (random() < 0.2) queue.start()
      }
      const asked = new Map(queue.waiting().map((request) => [request, queue.position(request)]))
      expect(new Set(requests.map(({ account }) => account)).size).toBe(50)
      const started: number[] = []
      for (let head = queue.start(); head !== undefined; head = queue.start()) {
        started.push(asked.get(head)!)
      }
      expect(started).toEqual(Array.from({ length: 10_000 }, (_, index) => index))
    }),
    { numRuns: 3 },
  )
})

/** The queue beside the naive truth, with attempts that can be lost. */
class Rehearsal {
  readonly queue = new OneSlotQueue()
  readonly truth = new Set<Queued>()
  readonly #running: Queued[] = []
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  arrive(): void {
    this.truth.add(this.queue.submit(drawCall(this.#random, 0.1)))
  }

  start(): Queued | undefined {
    const head = this.queue.start()
    if (head === undefined) return undefined
    this.truth.delete(head)
    this.#running.push(head)
    return head
  }

  lose(): void {
    const [lost] = this.#running.splice(Math.floor(this.#random() * this.#running.length), 1)
    if (lost === undefined) return
    this.queue.giveBack(lost)
    this.truth.add(lost)
  }
}

test("positions equal a naive sort at random moments of arrivals, starts and lost attempts", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = randomFrom(seed)
      const rehearsal = new Rehearsal(random)
      for (let moment = 0; moment < 100; moment += 1) {
        for (let events = random() * 40; events > 0; events -= 1) {
          const dice = random()
          if (dice < 0.6) rehearsal.arrive()
          else if (dice < 0.95) rehearsal.start()
          else rehearsal.lose()
        }
        const order = sortNaively(rehearsal.truth)
        const positions = order.map((request) => rehearsal.queue.position(request))
        expect(positions).toEqual(order.map((_, index) => index))
        expect(rehearsal.start()).toBe(order[0])
      }
    }),
    { numRuns: 10 },
  )
})

test("a position rises only for a run or another account's earlier turn, and by one", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = randomFrom(seed)
      const queue = new OneSlotQueue()
      for (let step = 0; step < 200; step += 1) {
        const before = queue.waiting()
        const positions = before.map((request) => queue.position(request))
        const arrival = queue.submit(drawCall(random, 0.1))
        const rises = before.map((request, index) => queue.position(request) - positions[index]!)
        expect(rises).toEqual(
          before.map((request) => (comparePlaces(arrival, request) < 0 ? 1 : 0)),
        )
        const overtaken = before.filter((_, index) => rises[index] !== 0)
        const ownLane = overtaken.filter(
          ({ account, priority }) => account === arrival.account && priority === arrival.priority,
        )
        expect(arrival.turn === headTurn || ownLane.length === 0).toBe(true)
        if (random() < 0.4) queue.start()
      }
    }),
    { numRuns: 20 },
  )
})

test("within an account and priority requests start in the order of their arrival", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = randomFrom(seed)
      const queue = new OneSlotQueue()
      const newest = new Map<string, number>()
      for (let step = 0; step < 3_000 || queue.length > 0; step += 1) {
        if (step < 3_000) queue.submit(drawCall(random, 0.1))
        if (step < 3_000 && random() < 0.4) continue
        const head = queue.start()!
        const lane = `${head.account} ${head.priority} ${head.door}`
        expect(head.sequence).toBeGreaterThan(newest.get(lane) ?? 0)
        newest.set(lane, head.sequence)
      }
    }),
    { numRuns: 5 },
  )
})

test("a newcomer starts within one round of the waiting accounts, whatever is queued before", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 49 }), (seed, accounts) => {
      const random = randomFrom(seed)
      const queue = new OneSlotQueue()
      for (let made = 0; made < 5_000; made += 1) {
        const account = `account-${Math.floor(random() * accounts)}`
        queue.submit({ account, priority: "normal", door: "queue" })
        if (random() < 0.3) queue.start()
      }
      const newcomer = queue.submit({ account: "new", priority: "normal", door: "queue" })
      // Those that share the newcomer's turn, and those still waiting of the clock's own turn.
      expect(queue.position(newcomer)).toBeLessThanOrEqual(2 * accounts)
    }),
    { numRuns: 10 },
  )
})
