import { describe, expect, it } from "vitest"
import type { DueDelivery } from "../store.ts"
import { Waiting } from "./waiting.ts"

function due(sequence: number, origin: string): DueDelivery {
  const url = `${origin}/hook`
  const none = { tries: 0, triesInRound: 0, nextAt: 0, createdAt: 0, finishedAt: null }
  const request = `r${sequence}`
  const delivery = { sequence, request, account: "local", url, origin, state: "pending", ...none }
  return { delivery: delivery as DueDelivery["delivery"], payloadBytes: 0 }
}

function waitingFor(...origins: string[]): Waiting {
  const waiting = new Waiting()
  for (const [index, origin] of origins.entries()) waiting.add(due(index, origin))
  return waiting
}

function takeAll(waiting: Waiting, mayBegin: (due: DueDelivery) => boolean = () => true): number[] {
  return [...waiting.take(mayBegin)].map(({ delivery }) => delivery.sequence)
}

describe("what waits", () => {
  it("is taken origin by origin, each in its order", () => {
    const waiting = waitingFor("a", "a", "a", "b", "c", "c")
    expect(waiting.size).toBe(6)
    expect(takeAll(waiting)).toEqual([0, 3, 4, 1, 5, 2])
    expect(waiting.size).toBe(0)
    expect([...waiting.origins()]).toEqual([])
  })

  it("stays when it may not begin, and comes first the next time", () => {
    const waiting = waitingFor("a", "a", "b", "b")
    expect(takeAll(waiting, ({ delivery }) => delivery.origin === "b")).toEqual([2, 3])
    expect([waiting.has("a"), waiting.has("b")]).toEqual([true, false])
    waiting.add(due(4, "c"))
    expect(takeAll(waiting)).toEqual([0, 4, 1])
  })

  it("goes on with the turns where it was stopped", () => {
    const waiting = waitingFor("a", "a", "b", "b")
    let left = 1
    expect(takeAll(waiting, () => left-- > 0)).toEqual([0])
    expect(takeAll(waiting)).toEqual([2, 1, 3])
  })

  it("is forgotten by origin", () => {
    const waiting = waitingFor("a", "a", "b")
    waiting.forget((origin) => origin === "a")
    expect(waiting.size).toBe(1)
    expect(takeAll(waiting)).toEqual([2])
  })
})
