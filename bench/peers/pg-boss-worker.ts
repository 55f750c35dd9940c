import { PgBoss } from "pg-boss"
import { ResultWriter } from "./results.ts"
import { workerConcurrency } from "../contenders/contender.ts"
import { databaseUrl, queueName } from "./shell.ts"

/**
 * Wakes by NOTIFY and goes on at once while its batches come back full; the interval is the smallest there is:
 * https://pgboss.io/api/workers
 */

const connectionString = databaseUrl()
const boss = new PgBoss({ connectionString, useListenNotify: true })
boss.on("error", console.error)
await boss.start()
const results = new ResultWriter(connectionString)
const workers = 4
const options = {
  batchSize: workerConcurrency / workers,
  localConcurrency: workers,
  pollingIntervalSeconds: 0.5,
  burstWhenBatchFull: true,
}
await boss.work(queueName, options, (jobs) =>
  results.write(jobs.map(({ id, data }) => ({ id, output: data }))),
)
console.log("ready")
