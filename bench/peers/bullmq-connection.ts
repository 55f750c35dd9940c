import { databaseUrl } from "./shell.ts"

/** As https://docs.bullmq.io/guide/going-to-production has it for workers. */
export function redisConnection() {
  const { hostname, port } = new URL(databaseUrl())
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null }
}
