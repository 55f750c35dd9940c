import { PgBoss } from "pg-boss"
import { ResultReader } from "./results.ts"
import { databaseUrl, queueName, serve } from "./shell.ts"

/** The door of pg-boss, with NOTIFY instead of waiting for the next poll: https://pgboss.io/api/queues */

const connectionString = databaseUrl()
const boss = new PgBoss({ connectionString })
boss.on("error", console.error)
await boss.start()
await boss.createQueue(queueName, { notify: true })
const isStored = `EXISTS (SELECT FROM pgboss.job WHERE name = '${queueName}' AND id = $1::uuid)`
const results = new ResultReader(connectionString, isStored)
await results.open()

await serve({
  submit: async (input) => {
    const id = await boss.send(queueName, input)
    if (id === null) throw new Error("pg-boss did not take the job")
    return id
  },
  result: (id) => results.read(id),
})
