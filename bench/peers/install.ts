import { spawnSync } from "node:child_process"
import { existsSync, statSync } from "node:fs"
import { join } from "node:path"

const folder = import.meta.dirname

/**
 * Installs the peers in their own folder when they are not there as locked; the product never sees them. Answers what went
 * wrong, null when nothing did.
 */
export function installPeers(say: (line: string) => void): string | null {
  const installed = join(folder, "node_modules", ".package-lock.json")
  const lock = join(folder, "package-lock.json")
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return null
  say("Installing the peers (npm ci in bench/peers, once) …")
  // The npm that runs the bench, when there is one: the `npm` on the path may be another.
  const own = process.env["npm_execpath"]
  const [command, ...first] = own?.endsWith("npm-cli.js") ? [process.execPath, own] : ["npm"]
  // Nothing of theirs needs an install script: what is native comes ready-made or is done without.
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
  // npm tells scripts of the root's folder by variables; they would make it install there.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_(config_local_prefix|package)/.test(name),
    ),
  )
  const result = spawnSync(command, [...first, "ci", ...flags], {
    cwd: folder,
    env,
    encoding: "utf8",
  })
  if (result.status === 0) return null
  return `\`npm ci\` failed in ${folder}:\n${result.stdout ?? ""}${result.stderr ?? ""}`
}
