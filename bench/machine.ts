import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os"
import { join, resolve } from "node:path"
import { nginxVersion } from "./contenders/nginx.ts"
import { postgresqlVersion } from "./contenders/postgresql.ts"
import { redisVersion } from "./contenders/redis.ts"

const root = resolve(import.meta.dirname, "..")

/** What a number depends on beside the program. */
export interface Machine {
  cpu: string
  cores: number
  memoryGb: number
  system: string
  /** Of the last minute, when the bench began. */
  loadAverage: number
  commit: string
  /** Of everything that took part, by name. */
  versions: Record<string, string>
}

export function describeMachine(): Machine {
  const manifest = readFileSync(join(import.meta.dirname, "peers", "package.json"), "utf8")
  const { dependencies } = JSON.parse(manifest) as { dependencies: Record<string, string> }
  const servers = {
    Redis: redisVersion() ?? "none",
    PostgreSQL: postgresqlVersion() ?? "none",
    nginx: nginxVersion() ?? "none",
  }
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    loadAverage: loadavg()[0] ?? 0,
    commit: describeCommit(),
    versions: { Node: process.versions.node, ...servers, ...dependencies },
  }
}

/** Others use the machine as well, so what is measured now says little. */
export function isBusy({ loadAverage, cores }: Machine): boolean {
  return loadAverage > cores / 2
}

function git(...args: string[]) {
  return spawnSync("git", args, { cwd: root, encoding: "utf8" })
}

function describeCommit(): string {
  const { status, stdout } = git("rev-parse", "--short", "HEAD")
  if (status !== 0) return "unknown"
  const changed = git("status", "--porcelain", "--", "packages").stdout.trim() !== ""
  return `${stdout.trim()}${changed ? ", with changes that are not committed" : ""}`
}
