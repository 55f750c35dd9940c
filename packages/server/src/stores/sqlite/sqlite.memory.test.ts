import { describeStore, type OpenedStore } from "../store.suite.ts"
import { openSqliteStore } from "./sqlite-store.ts"

describeStore("SQLite in memory", async ({ clock, batchOperationsMax, batchBytesMax }) => {
  const committed: OpenedStore["committed"] = []
  const store = await openSqliteStore({
    path: ":memory:",
    limits: {
      batchOperationsMax: batchOperationsMax ?? 20_000,
      batchBytesMax: batchBytesMax ?? 64 * 1024 * 1024,
    },
    clock,
    onCommit: (changed) => committed.push(changed),
    onFatal: (error) => {
      throw error
    },
  })
  return { store, committed, commits: () => store.counts().commits }
})
