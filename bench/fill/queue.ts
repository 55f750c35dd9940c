import { percentile } from "../statistics.ts"
import { type DepthFigures, type OperationFigures, parkedApp } from "./figures.ts"
import { newLease, newRequest, openFilled, session } from "./filled-store.ts"

/** `queue.ts <database> <count>`: queues so many requests, then times what the store does with a queue so long. */

const lot = 5_000
const idsKept = 1_000
const operations = 300

const [, , path = "", count = ""] = process.argv
const store = await openFilled(path)
const ids: string[] = []
const keepEvery = Math.max(1, Math.floor(Number(count) / idsKept))
for (let queued = 0; queued < Number(count);) {
  const requests = Array.from({ length: Math.min(lot, Number(count) - queued) }, () => newRequest())
  await Promise.all(requests.map((request) => store.submit(request)))
  ids.push(...requests.filter((_, index) => (queued + index) % keepEvery === 0).map(({ id }) => id))
  queued += requests.length
}

async function time(work: (index: number) => Promise<unknown>): Promise<OperationFigures> {
  const durations: number[] = []
  for (let index = 0; index < operations; index += 1) {
    const startedAt = performance.now()
    await work(index)
    durations.push(performance.now() - startedAt)
  }
  return { p50Ms: percentile(durations, 0.5), p99Ms: percentile(durations, 0.99) }
}

const anyId = (index: number) => ids[(index * 7_919) % ids.length]!
// What is compiled by the first calls is no matter of the queue's length.
await time((index) => store.positions([anyId(index)]))
const figures: DepthFigures = {
  ids: ids.slice(-idsKept),
  operations: {
    submit: await time(() => store.submit(newRequest())),
    position: await time((index) => store.positions([anyId(index)])),
    status: await time((index) => store.request(anyId(index))),
    claim: await time(async () => {
      const [claim] = await store.claim({ session, apps: [parkedApp], leases: [newLease()] })
      if (claim === undefined) throw new Error("nothing was claimed of a queue that is not empty")
    }),
  },
}
await store.endAttempts(session, "stopped")
await store.close()
console.log(JSON.stringify(figures))
