import { spawnSync } from "node:child_process"

/** Null when the command runs; otherwise the reason for a skip, which is printed. */
export function missingTool(title: string, command: string, ...args: string[]): string | null {
  const { error, status, stderr } = spawnSync(command, args, { encoding: "utf8" })
  const reason = error?.message ?? (status === 0 ? null : `${command}: ${stderr.trim()}`)
  if (reason !== null) console.log(`skipped: ${title} (${reason})`)
  return reason
}
