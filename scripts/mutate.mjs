// Runs Stryker on the domain: `npm run mutate`, or `npm run mutate -- --mutate packages/server/src/domain/turn.ts`.
// It is installed in test/mutation/ on first use, so that nobody else waits for it (docs/decisions/007).
import { spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { findNode } from "./find-node.mjs"
import { install, installIsNeeded } from "./install.mjs"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const folder = join(root, "test", "mutation")

if (installIsNeeded(folder)) {
  console.log("Installing what test/mutation/package-lock.json names (npm ci, once) …")
  const failure = install(folder)
  if (failure !== null) {
    console.error(`${failure}\`npm ci\` in test/mutation failed; what it said is above.`)
    process.exit(1)
  }
}
const stryker = join(folder, "node_modules", "@stryker-mutator", "core", "bin", "stryker.js")
const config = join(folder, "stryker.config.mjs")
const args = [stryker, "run", config, ...process.argv.slice(2)]
const { status } = spawnSync(findNode(root) ?? process.execPath, args, {
  cwd: root,
  stdio: "inherit",
})
if (status === 0 && process.argv.length === 2) record()
process.exit(status ?? 1)

/** For docs/reference/reliability.md, when all of the domain was changed. */
function record() {
  const { files } = JSON.parse(readFileSync(join(folder, "report.json"), "utf8"))
  const mutants = Object.values(files).flatMap((file) => file.mutants)
  const noticed = mutants.filter((one) => one.status === "Killed" || one.status === "Timeout")
  const results = join(root, "test", "reliability", "results")
  mkdirSync(results, { recursive: true })
  const counts = { changes: mutants.length, noticed: noticed.length }
  writeFileSync(join(results, "mutation.json"), `${JSON.stringify(counts, null, 2)}\n`)
}
