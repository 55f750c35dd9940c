import { describeBatches } from "../batches.suite.ts"
import { describeDeliveries } from "../deliveries.suite.ts"
import { describeHistory } from "../history.suite.ts"
import { describeIdempotency } from "../idempotency.suite.ts"
import { describeLimits } from "../limits.suite.ts"
import { describeRetention } from "../retention.suite.ts"
import { describeFlood, describeRetries } from "../retries.suite.ts"
import { describeUploads } from "../uploads.suite.ts"
import { describeStore, type OpenedStore, type StoreSetup } from "../store.suite.ts"
import { openSqliteStore } from "./sqlite-store.ts"

async function open(setup: StoreSetup): Promise<OpenedStore> {
  const committed: OpenedStore["committed"] = []
  const freed: OpenedStore["freed"] = []
  const store = await openSqliteStore({
    path: ":memory:",
    limits: {
      batchOperationsMax: setup.batchOperationsMax ?? 20_000,
      batchBytesMax: setup.batchBytesMax ?? 64 * 1024 * 1024,
      concurrencyMax: setup.concurrencyMax ?? 0,
    },
    clock: setup.clock,
    onCommit: (changed) => committed.push(changed),
    onFreed: (apps) => freed.push(apps),
    onFatal: (error) => {
      throw error
    },
  })
  return { store, committed, freed, commits: () => store.counts().commits }
}

describeStore("SQLite in memory", open)
describeBatches("SQLite in memory", open)
describeDeliveries("SQLite in memory", open)
describeHistory("SQLite in memory", open)
describeIdempotency("SQLite in memory", open)
describeLimits("SQLite in memory", open)
describeRetries("SQLite in memory", open)
describeRetention("SQLite in memory", open)
describeUploads("SQLite in memory", open)
describeFlood("SQLite in memory", open)
