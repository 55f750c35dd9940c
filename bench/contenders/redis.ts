import { spawnSync } from "node:child_process"
import { findFreePort, type OwnProcess, type Processes } from "../processes.ts"

const command = "redis-server"

export function redisVersion(): string | null {
  const { status, stdout } = spawnSync(command, ["--version"], { encoding: "utf8" })
  return status === 0 ? (/v=(\S+)/.exec(stdout)?.[1] ?? null) : null
}

export function missingRedis(): string | null {
  return redisVersion() === null ? "redis-server (apt-get install redis-server)" : null
}

/** A server of our own; `noeviction` as https://docs.bullmq.io/guide/going-to-production asks for. */
export async function startRedis(
  processes: Processes,
  folder: string,
  persistence: "always" | "none",
): Promise<{ url: string; server: OwnProcess }> {
  const port = await findFreePort()
  const kept = persistence === "always" ? ["yes", "--appendfsync", "always"] : ["no"]
  const own = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder]
  const server = processes.start(command, {
    args: [...own, "--maxmemory-policy", "noeviction", "--save", "", "--appendonly", ...kept],
  })
  await server.untilLine(/Ready to accept connections/)
  return { url: `redis://127.0.0.1:${port}`, server }
}
