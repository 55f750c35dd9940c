import { runCalls, runPolls, runSubmits } from "./calls.ts"
import { holdStreams, releaseStreams } from "./held.ts"
import { countStored, prepareJobs, queueJobs, runJobs, runPickups } from "./jobs.ts"
import type { LoadOrders, OrderMessage, ReplyMessage } from "./orders.ts"
import { runStreams, runTurns } from "./streams.ts"
import { runDownloads, runUploads } from "./transfers.ts"

/** The load's process: does what the bench orders, one order after another, and ends with the bench. */

const orders: LoadOrders = {
  jobs: runJobs,
  count: countStored,
  prepare: prepareJobs,
  polls: runPolls,
  calls: runCalls,
  submits: runSubmits,
  pickups: runPickups,
  queue: queueJobs,
  streams: runStreams,
  turns: runTurns,
  hold: holdStreams,
  release: releaseStreams,
  uploads: runUploads,
  downloads: runDownloads,
}

process.on("message", ({ number, name, order }: OrderMessage) => {
  const carryOut = orders[name] as (order: unknown) => Promise<unknown>
  carryOut(order).then(
    (figures) => reply({ number, figures }),
    (error: unknown) => reply({ number, error: error instanceof Error ? error.message : "failed" }),
  )
})
process.on("disconnect", () => process.exit())
// Ctrl-C reaches the whole group; the bench ends in its own order.
process.on("SIGINT", () => {})

function reply(message: ReplyMessage): void {
  process.send?.(message)
}
