import { describe, expect, it } from "vitest"
import { Places } from "./places.ts"

const bounds = { triesMax: 32, triesPerOriginMax: 4, triesPerQuickOriginMax: 12 }

function open(fields: Partial<typeof bounds> = {}): Places {
  return new Places({ ...bounds, ...fields })
}

/** Takes every place that the origin may have; resolves to how many it holds then. */
function fill(places: Places, origin: string): number {
  while (!places.isFull && places.hasPlaceAt(origin)) places.take(origin)
  return places.triesAt(origin)
}

function end(places: Places, origin: string, pace: Parameters<Places["note"]>[1]): void {
  places.note(origin, pace)
  places.leave(origin)
}

/** Tries that succeed at once, with as many under way as may be. */
function hurry(places: Places, origin: string, count: number): void {
  for (let done = 0; done < count; done += 1) {
    fill(places, origin)
    end(places, origin, "quick")
  }
}

describe("the places of an origin", () => {
  it("are the usual number, then one more for every quick success, up to a bound", () => {
    const places = open()
    expect(fill(places, "a")).toBe(4)
    expect(places.most).toBe(4)
    hurry(places, "a", 3)
    expect(fill(places, "a")).toBe(7)
    hurry(places, "a", 100)
    expect(fill(places, "a")).toBe(12)
    expect(places.most).toBe(12)
    expect(places.taken()).toEqual(["a"])
  })

  it("do not grow by successes that left some of them free", () => {
    const places = open()
    for (let done = 0; done < 20; done += 1) {
      places.take("a")
      places.take("a")
      end(places, "a", "quick")
      end(places, "a", "quick")
    }
    expect(fill(places, "a")).toBe(4)
  })

  it("are the usual number again once an answer was slower or no success", () => {
    const places = open()
    hurry(places, "a", 6)
    end(places, "a", "usual")
    expect(places.hasPlaceAt("a")).toBe(false)
    while (places.triesAt("a") > 1) places.leave("a")
    expect(fill(places, "a")).toBe(4)
  })

  it("are what they were when the next tries begin later", () => {
    const places = open()
    hurry(places, "a", 6)
    while (places.triesAt("a") > 0) end(places, "a", "quick")
    expect(places.most).toBe(4)
    expect(fill(places, "a")).toBe(10)
  })

  it("are one after a timeout, whatever there were, until a try ends otherwise", () => {
    const places = open()
    hurry(places, "a", 6)
    places.note("a", "timeout")
    while (places.triesAt("a") > 0) places.leave("a")
    expect(fill(places, "a")).toBe(1)
    end(places, "a", "timeout")
    expect(fill(places, "a")).toBe(1)
    places.note("a", "quick")
    expect(fill(places, "a")).toBe(4)
  })

  it("beyond the usual number leave half of all to the others", () => {
    const places = open()
    for (const origin of ["a", "b"]) hurry(places, origin, 100)
    expect(fill(places, "a") + fill(places, "b")).toBe(16)
    for (const origin of ["c", "d", "e", "f"]) expect(fill(places, origin)).toBe(4)
    expect(places.isFull).toBe(true)
  })

  it("are never more than the usual number when the bound says so", () => {
    const places = open({ triesPerQuickOriginMax: 1 })
    hurry(places, "a", 20)
    expect(fill(places, "a")).toBe(4)
  })
})
