import { join, resolve } from "node:path"
import type { Target } from "../load/target.ts"
import { findFreePort, untilAnswers } from "../processes.ts"
import { type Contender, type Place, type Running, workerConcurrency } from "./contender.ts"

const program = resolve(import.meta.dirname, "../../packages/cli/bin/tintype.js")

/** The whole product as `npm start` runs it: built, one server process, one runner process, a data folder on disk. */
export const tintype: Contender = {
  name: "tintype",
  about: `server and runner as \`tintype serve\` starts them, --runner-slots ${workerConcurrency}, log to a file; GET with \`Prefer: wait\``,
  page: null,
  stores: true,
  missing: () => null,
  start: startTintype,
}

async function startTintype({
  processes,
  folder,
  nodeFlags = [],
  flags = [],
  env = {},
  runner = true,
}: Place): Promise<Running> {
  const port = await findFreePort()
  const slots = ["--runner-slots", String(workerConcurrency)]
  const own = ["--port", String(port), "--data", join(folder, "data"), "--log", "json", ...slots]
  const spawnedAt = performance.now()
  const server = processes.start(process.execPath, {
    args: [...nodeFlags, program, "serve", ...own, ...flags],
    cwd: folder,
    env: { TINTYPE_PACE: "0", TINTYPE_RUNNER_LOCAL: String(runner), ...env },
    logFile: join(folder, "server.log"),
  })
  await untilAnswers(`http://127.0.0.1:${port}/health`, server)
  const listeningMs = performance.now() - spawnedAt
  if (runner) await untilAnswers(`http://127.0.0.1:${port}/health?ready`, server)
  return {
    target: tintypeTarget(port),
    pids: [server.pid],
    listeningMs,
    crash: () => server.end("SIGKILL"),
    stop: () => server.end("SIGTERM"),
  }
}

export function tintypeTarget(port: number, app = "tintype/echo"): Target {
  return {
    port,
    submit: `/queue/${app}`,
    idAfter: '"request_id":"',
    result: { before: `/queue/${app}/requests/`, after: "" },
    resultHeaders: "prefer: wait=60\r\n",
  }
}
