import { resolve } from "node:path"

/** Ways in for a program that is not changed and not configured; each is what a user would type in front of it. */

const bin = resolve(import.meta.dirname, "../../packages/cli/bin/tintype.js")

/** Every call to one of fal's hosts reaches the server. */
export function throughExec(command: string[]): string[] {
  return [process.execPath, bin, "exec", "--", ...command]
}

/** The variables that the Python client reads; it must be evaluated by a shell, as its user does. */
export function throughEnv(command: string[]): string[] {
  const line = 'eval "$("$NODE" "$TINTYPE" env)" && exec "$@"'
  return ["env", `NODE=${process.execPath}`, `TINTYPE=${bin}`, "sh", "-c", line, "sh", ...command]
}
