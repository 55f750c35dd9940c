import { readFileSync } from "node:fs"
import { createRequire } from "node:module"

/** The version that is installed; the package does not export its package.json. */
export function clientVersion(): string {
  const entry = createRequire(import.meta.url).resolve("@fal-ai/client")
  const manifest = readFileSync(new URL("../package.json", `file://${entry}`), "utf8")
  return (JSON.parse(manifest) as { version: string }).version
}

/** Names everything public that a package can do, read from what it exports: `fal.queue.submit`, `ApiError.isUserTimeout`. */
export function inventoryOf(exported: object): string[] {
  return Object.entries(exported)
    .filter(([name]) => !["default", "module.exports", "__esModule"].includes(name))
    .flatMap(([name, value]) => namesOf(name, value))
}

function namesOf(name: string, value: unknown): string[] {
  if (typeof value === "function") {
    const members = Object.getOwnPropertyNames(value.prototype ?? {})
    const own = members.filter((member) => member !== "constructor")
    return own.length > 0 ? own.map((member) => `${name}.${member}`) : [name]
  }
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => namesOf(`${name}.${key}`, inner))
}
