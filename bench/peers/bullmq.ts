import { Job, Queue, QueueEvents } from "bullmq"
import { redisConnection } from "./bullmq-connection.ts"
import { queueName, serve } from "./shell.ts"

/** The door of BullMQ: adds to the queue, learns of results through QueueEvents (https://docs.bullmq.io/guide/events). */

const connection = redisConnection()
const queue = new Queue(queueName, { connection })
const events = new QueueEvents(queueName, { connection })
// One listener a waiting GET.
events.setMaxListeners(0)
await events.waitUntilReady()

await serve({
  submit: async (input) => {
    const { id } = await queue.add(queueName, input)
    if (id === undefined) throw new Error("BullMQ gave the job no id")
    return id
  },
  result: async (id) => {
    const job = await Job.fromId(queue, id)
    return job === undefined ? undefined : await job.waitUntilFinished(events)
  },
})
