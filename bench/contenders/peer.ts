import { join } from "node:path"
import type { Target } from "../load/target.ts"
import type { OwnProcess, Processes } from "../processes.ts"
import { type Contender, type Place, type Running, workerConcurrency } from "./contender.ts"
import { missingPostgresql, startPostgresql } from "./postgresql.ts"
import { missingRedis, startRedis } from "./redis.ts"

const folder = join(import.meta.dirname, "..", "peers")

type StartDatabase = (
  processes: Processes,
  folder: string,
) => Promise<{ url: string; server: OwnProcess }>

/** `door` and `worker`: their programs in `peers/`. */
function start(programs: { door: string; worker: string }, startDatabase: StartDatabase) {
  return async ({ processes, folder: own }: Place): Promise<Running> => {
    const { url, server } = await startDatabase(processes, own)
    const spawnedAt = performance.now()
    const run = (program: string) =>
      processes.start(process.execPath, { args: [join(folder, program), url], cwd: folder })
    // The door first: it makes the tables.
    const door = run(programs.door)
    const [, port] = await door.untilLine(/^listening http:\/\/127\.0\.0\.1:(\d+)/)
    const listeningMs = performance.now() - spawnedAt
    const worker = run(programs.worker)
    await worker.untilLine(/^ready$/)
    const all = [door, worker, server]
    return {
      target: peerTarget(Number(port)),
      pids: all.map(({ pid }) => pid),
      listeningMs,
      // To PostgreSQL, SIGQUIT is the crash that leaves nothing of it running; doors and workers are killed.
      crash: () => endAll([door, worker], "SIGKILL").then(() => endAll([server], crashSignal(url))),
      stop: () => endAll([door, worker], "SIGKILL").then(() => endAll([server], "SIGINT")),
    }
  }
}

function crashSignal(url: string): NodeJS.Signals {
  return url.startsWith("postgres:") ? "SIGQUIT" : "SIGKILL"
}

async function endAll(all: OwnProcess[], signal: NodeJS.Signals): Promise<void> {
  await Promise.all(all.map((one) => one.end(signal)))
}

function peerTarget(port: number): Target {
  return {
    port,
    submit: "/jobs",
    idAfter: '"id":"',
    result: { before: "/jobs/", after: "" },
    resultHeaders: "",
  }
}

const bullmqPrograms = { door: "bullmq.ts", worker: "bullmq-worker.ts" }

const bullmqAlways: Contender = {
  name: "BullMQ, appendfsync always",
  about: `Redis with \`appendonly yes\`, \`appendfsync always\`, \`noeviction\`; one worker process, concurrency ${workerConcurrency}; waits by QueueEvents`,
  page: "https://docs.bullmq.io/guide/going-to-production",
  stores: true,
  missing: missingRedis,
  start: start(bullmqPrograms, (processes, own) => startRedis(processes, own, "always")),
}

const bullmqNone: Contender = {
  ...bullmqAlways,
  name: "BullMQ, no persistence",
  about: `Redis with \`appendonly no\`, \`save ""\`, \`noeviction\`: nothing survives; else as above`,
  start: start(bullmqPrograms, (processes, own) => startRedis(processes, own, "none")),
}

const graphileWorker: Contender = {
  name: "graphile-worker",
  about:
    "PostgreSQL as `initdb` sets it up (fsync on); `concurrentJobs` 24, `maxPoolSize` 25, `localQueue` 500, `completeJobBatchDelay` 0; results in a table, told by NOTIFY",
  page: "https://worker.graphile.org/docs/performance",
  stores: true,
  missing: missingPostgresql,
  start: start(
    { door: "graphile-worker.ts", worker: "graphile-worker-worker.ts" },
    startPostgresql,
  ),
}

const pgBoss: Contender = {
  name: "pg-boss",
  about: `PostgreSQL as \`initdb\` sets it up (fsync on); \`notify\`, \`burstWhenBatchFull\`, 4 workers with batches of ${workerConcurrency / 4}, polls every 0.5 s beside that (the least it allows); results in a table, told by NOTIFY`,
  page: "https://pgboss.io/api/workers",
  stores: true,
  missing: missingPostgresql,
  start: start({ door: "pg-boss.ts", worker: "pg-boss-worker.ts" }, startPostgresql),
}

export const peers: Contender[] = [bullmqAlways, bullmqNone, graphileWorker, pgBoss]
