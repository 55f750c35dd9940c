import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { reliabilityPage } from "./page.ts"
import { readResults } from "./results.ts"

/**
 * `npm run reliability` runs everything that is long and writes docs/reference/reliability.md; `-- --page` writes the page
 * of what was run before. An hour on two cores, most of it calls that fail and mutations.
 */
const { values } = parseArgs({ options: { page: { type: "boolean", default: false } } })
const root = join(import.meta.dirname, "../..")
const vitest = join(root, "node_modules/vitest/vitest.mjs")
const source = "--conditions=tintype-source"
const steps = [
  [vitest, "run", "--config", "vitest.long.config.ts"],
  [vitest, "run", "test/full-disk", "test/clock-jumps"],
  [source, "test/simulator/simulate.ts", "--schedules", "100000"],
  [source, "test/fuzz/fuzz.ts", "--minutes", "10"],
  ["scripts/mutate.mjs"],
]
const env = { ...process.env, TINTYPE_RECORD: "1" }
for (const args of values.page ? [] : steps) {
  console.log(`\n${args.join(" ")}\n`)
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}
writeFileSync(join(root, "docs/reference/reliability.md"), reliabilityPage(readResults()))
