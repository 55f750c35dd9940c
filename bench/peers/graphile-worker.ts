import { makeWorkerUtils } from "graphile-worker"
import { ResultReader } from "./results.ts"
import { databaseUrl, queueName, serve } from "./shell.ts"

/** The door of graphile-worker: https://worker.graphile.org/docs/library/add-job */

const connectionString = databaseUrl()
const utils = await makeWorkerUtils({ connectionString })
await utils.migrate()
const isStored = "EXISTS (SELECT FROM graphile_worker._private_jobs WHERE id = $1::bigint)"
const results = new ResultReader(connectionString, isStored)
await results.open()

await serve({
  submit: async (input) => (await utils.addJob(queueName, input)).id,
  result: (id) => results.read(id),
})
