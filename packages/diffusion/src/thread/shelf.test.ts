import { expect, test } from "vitest"
import type { LoadedModel } from "./order.ts"
import { ModelShelf } from "./shelf.ts"

function open({ modelsMax = 2, unloadAfterMs = 60_000 } = {}) {
  const events: string[] = []
  const changes: LoadedModel[][] = []
  let changed = Promise.withResolvers<void>()
  const shelf = new ModelShelf({
    modelsMax,
    unloadAfterMs,
    open: async (folder: string) => {
      if (folder === "/broken") throw new Error("broken")
      events.push(`open ${folder}`)
      return { bytes: 10, close: async () => void events.push(`close ${folder}`) }
    },
    onChange: (models) => {
      changes.push(models)
      changed.resolve()
    },
  })
  const use = async <Result>(folder: string, work: () => Promise<Result>) =>
    await shelf.use({ folder, model: `model${folder}`, onLoad: () => undefined }, work)
  const nextChange = async () => {
    changed = Promise.withResolvers<void>()
    await changed.promise
  }
  return { use, events, changes, nextChange }
}

const nothing = async () => undefined

test("A model is loaded by the first who uses it, and shared", async () => {
  const { use, events, changes } = open()
  await use("/a", nothing)
  await use("/a", nothing)
  expect(events).toEqual(["open /a"])
  expect(changes).toEqual([[{ model: "model/a", bytes: 10 }]])
})

test("One too many sends away the one that was not used for longest, before it is loaded", async () => {
  const { use, events, changes } = open()
  for (const folder of ["/a", "/b", "/a", "/c"]) await use(folder, nothing)
  expect(events).toEqual(["open /a", "open /b", "close /b", "open /c"])
  expect(changes.at(-1)?.map(({ model }) => model)).toEqual(["model/a", "model/c"])
})

test("A model that nobody used for a while is unloaded, one in use is not", async () => {
  const { use, events, nextChange } = open({ unloadAfterMs: 30 })
  await use("/a", nothing)
  await use("/a", async () => {
    await new Promise((done) => setTimeout(done, 90))
    expect(events).toEqual(["open /a"])
  })
  await nextChange()
  expect(events).toEqual(["open /a", "close /a"])
  await use("/a", nothing)
  expect(events).toEqual(["open /a", "close /a", "open /a"])
})

test("A model that cannot be loaded is tried again by the next one", async () => {
  const { use, changes } = open()
  await expect(use("/broken", nothing)).rejects.toThrow("broken")
  await expect(use("/broken", nothing)).rejects.toThrow("broken")
  expect(changes).toEqual([])
})
