import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"

/** What long runs found, a file each, for docs/reference/reliability.md. Not committed: the page is. */
const folder = join(import.meta.dirname, "results")

export type Result = Record<string, number | Record<string, number>>

/** Kept until the next run of the same name; only in runs that are for the page (`npm run reliability`). */
export function recordResult(name: string, result: Result): void {
  if (process.env["TINTYPE_RECORD"] !== "1") return
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`)
}

export function readResults(): Map<string, Result> {
  mkdirSync(folder, { recursive: true })
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"))
  return new Map(
    names.map((name) => {
      const result = JSON.parse(readFileSync(join(folder, name), "utf8")) as Result
      return [basename(name, ".json"), result]
    }),
  )
}
