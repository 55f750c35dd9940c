import { expect, test } from "vitest"
import { type Door, doorPolicies, type Priority } from "./door.ts"
import { type Place, clockAfterStart, comparePlaces, headTurn, nextTurn } from "./turn.ts"

/** The order in which accounts start, when each has submitted `counts` requests before the first start. */
function startOrder(submits: { account: string; priority: Priority; count: number }[]): string[] {
  const places: (Place & { account: string })[] = []
  let sequence = 0
  for (const { account, priority, count } of submits) {
    let last = 0
    for (let made = 0; made < count; made += 1) {
      last = nextTurn("queue", priority, { clock: 0, last })
      places.push({ account, turn: last, sequence: (sequence += 1) })
    }
  }
  return places.toSorted(comparePlaces).map(({ account }) => account)
}

test("a request goes one turn behind its account's last one, or behind the clock", () => {
  expect(nextTurn("queue", "normal", { clock: 0, last: 0 })).toBe(1)
  expect(nextTurn("queue", "normal", { clock: 7, last: 3 })).toBe(8)
  expect(nextTurn("queue", "normal", { clock: 7, last: 30 })).toBe(31)
})

test("a low request goes four turns behind", () => {
  expect(nextTurn("queue", "low", { clock: 7, last: 3 })).toBe(11)
  expect(nextTurn("queue", "low", { clock: 7, last: 30 })).toBe(34)
})

test("a run goes to the head whatever its priority, and does not move the clock", () => {
  expect(nextTurn("run", "normal", { clock: 7, last: 30 })).toBe(headTurn)
  expect(nextTurn("run", "low", { clock: 7, last: 30 })).toBe(headTurn)
  expect(clockAfterStart(7, headTurn)).toBe(7)
  expect(clockAfterStart(7, 12)).toBe(12)
  expect(clockAfterStart(12, 7)).toBe(12)
})

test("what does not survive a restart is at the head, where a restart looks for it", () => {
  const doors = (Object.keys(doorPolicies) as Door[]).filter(
    (door) => !doorPolicies[door].survivesRestart,
  )
  expect(doors).not.toEqual([])
  for (const door of doors) {
    expect(nextTurn(door, "normal", { clock: 7, last: 30 })).toBe(headTurn)
  }
})

test("places are ordered by turn, then by sequence", () => {
  const ordered: Place[] = [
    { turn: 0, sequence: 9 },
    { turn: 0, sequence: 10 },
    { turn: 1, sequence: 2 },
    { turn: 1, sequence: 3 },
    { turn: 2, sequence: 1 },
  ]
  expect(ordered.toReversed().toSorted(comparePlaces)).toEqual(ordered)
  expect(comparePlaces({ turn: 1, sequence: 1 }, { turn: 1, sequence: 1 })).toBe(0)
})

test("accounts with work take turns, however much one of them submitted before", () => {
  const order = startOrder([
    { account: "big", priority: "normal", count: 1_000 },
    { account: "small", priority: "normal", count: 3 },
  ])
  expect(order.slice(0, 7)).toEqual(["big", "small", "big", "small", "big", "small", "big"])
})

test("low work goes at a quarter of the pace of normal work and never starves", () => {
  const order = startOrder([
    { account: "low", priority: "low", count: 100 },
    { account: "normal", priority: "normal", count: 400 },
  ])
  for (let from = 0; from < 500; from += 5) {
    const round = order.slice(from, from + 5)
    expect(round.filter((account) => account === "low")).toHaveLength(1)
  }
})

test("an account that was idle gets no credit for its idle time", () => {
  const busy = nextTurn("queue", "normal", { clock: 500, last: 500 })
  const returning = nextTurn("queue", "normal", { clock: 500, last: 2 })
  expect(returning).toBe(busy)
})
