import { join } from "node:path"
import type { Contender, Place, Running } from "./contender.ts"
import { tintypeTarget } from "./tintype.ts"

/** The ceiling: what the product's own HTTP costs, with nothing behind it. */
export const bare: Contender = {
  name: "bare",
  about:
    "the product's gateway alone (HTTP parsing, addresses, origin checks, routing, body and JSON check, answers, log to a file) in front of a Map: nothing is stored, no app runs, a request is done when it is submitted",
  page: null,
  stores: false,
  missing: () => null,
  start: startBare,
}

async function startBare({ processes, folder }: Place): Promise<Running> {
  const spawnedAt = performance.now()
  const server = processes.start(process.execPath, {
    args: [
      "--conditions=tintype-source",
      join(import.meta.dirname, "bare-server.ts"),
      join(folder, "server.log"),
    ],
  })
  const [, port] = await server.untilLine(/^listening (\d+)$/)
  return {
    target: tintypeTarget(Number(port)),
    pids: [server.pid],
    listeningMs: performance.now() - spawnedAt,
    crash: () => server.end("SIGKILL"),
    stop: () => server.end("SIGTERM"),
  }
}
