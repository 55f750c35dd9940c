import { run } from "graphile-worker"
import { ResultWriter } from "./results.ts"
import { databaseUrl, queueName } from "./shell.ts"

/** Set up as https://worker.graphile.org/docs/performance has it, for its own best numbers. */

const connectionString = databaseUrl()
const results = new ResultWriter(connectionString)
await run({
  noHandleSignals: true,
  preset: {
    worker: {
      connectionString,
      concurrentJobs: 24,
      maxPoolSize: 25,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
  taskList: {
    [queueName]: (payload, { job }) => results.write([{ id: job.id, output: payload }]),
  },
})
console.log("ready")
