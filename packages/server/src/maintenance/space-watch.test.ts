import { describe, expect, it } from "vitest"
import { SpaceWatch } from "./space-watch.ts"

describe("what is said of space", () => {
  let now = 0
  const logged: object[] = []
  const watch = new SpaceWatch(
    () => now,
    (entry) => logged.push(entry),
  )

  it("is full from a refused write until one of its kind succeeds, and is logged once", () => {
    watch.note("rows", false)
    expect(watch.isFull).toBe(false)
    watch.note("rows", true)
    watch.note("rows", true)
    watch.note("blobs", false)
    expect(watch.isFull).toBe(true)
    watch.note("rows", false)
    expect(watch.isFull).toBe(false)
    expect(logged).toEqual([
      { event: "storage_full", kind: "rows" },
      { event: "storage_free", kind: "rows" },
    ])
  })

  it("is forgotten when nobody has tried for a minute", () => {
    watch.note("blobs", true)
    now = 59_999
    expect(watch.isFull).toBe(true)
    now = 60_000
    expect(watch.isFull).toBe(false)
  })
})
