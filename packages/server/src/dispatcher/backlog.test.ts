import { expect, test } from "vitest"
import { Backlog } from "./backlog.ts"

const all = new Set(["a", "b", "c"])

test("counts what was hinted, of the apps asked about", () => {
  const backlog = new Backlog()
  backlog.add("a")
  backlog.add("a", 3)
  backlog.add("b")
  expect(backlog.among(new Set(["a", "c"]))).toEqual(["a"])
  expect(backlog.sum(["a"])).toBe(4)
  expect(backlog.sum(["a", "b", "c"])).toBe(5)
})

test("what a claim under way may bring is not asked for twice", () => {
  const backlog = new Backlog()
  backlog.add("a", 2)
  const finish = backlog.claiming(["a"], 2)
  expect(backlog.sum(["a"])).toBe(0)
  backlog.add("a")
  expect(backlog.sum(["a"])).toBe(1)
  finish(["a", "a"], true)
  expect(backlog.sum(["a"])).toBe(1)
})

test("a claim that brings fewer than it asked for corrects the estimate", () => {
  const backlog = new Backlog()
  backlog.add("a", 5)
  backlog.add("b", 1)
  backlog.claiming(["a", "b"], 4)(["a"], true)
  expect(backlog.among(all)).toEqual([])
})

test("what was hinted while such a claim was under way stays [several at once]", () => {
  const backlog = new Backlog()
  backlog.add("a", 5)
  const finish = backlog.claiming(["a"], 4)
  backlog.add("a", 3)
  finish(["a"], true)
  expect(backlog.estimate("a")).toBe(3)
})

test("a claim that was not answered says nothing about the queues", () => {
  const backlog = new Backlog()
  backlog.add("a", 5)
  backlog.claiming(["a"], 4)([], false)
  expect(backlog.sum(["a"])).toBe(5)
})

test("apps take turns, also before the claims of the same tick are answered", () => {
  const backlog = new Backlog()
  for (const app of all) backlog.add(app, 2)
  const order: string[] = []
  for (let count = 0; count < 6; count += 1) {
    const apps = backlog.among(all)
    order.push(apps[0]!)
    backlog.claiming(apps, 1)
  }
  expect(order).toEqual(["a", "b", "c", "a", "b", "c"])
})

test("an estimate never goes below nothing", () => {
  const backlog = new Backlog()
  backlog.claiming(["a"], 1)(["a"], true)
  backlog.add("a")
  expect(backlog.sum(["a"])).toBe(1)
})
