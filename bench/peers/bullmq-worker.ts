import { Worker } from "bullmq"
import { redisConnection } from "./bullmq-connection.ts"
import { workerConcurrency } from "../contenders/contender.ts"
import { queueName } from "./shell.ts"

/** Works as https://docs.bullmq.io/guide/workers/concurrency has it. */

const connection = redisConnection()
const worker = new Worker(queueName, ({ data }) => Promise.resolve(data), {
  connection,
  concurrency: workerConcurrency,
})
await worker.waitUntilReady()
console.log("ready")
