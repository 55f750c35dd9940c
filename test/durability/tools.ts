import { spawnSync } from "node:child_process"

/** Null when the command runs; otherwise the reason for a skip, which is printed. */
export function missingTool(title: string, command: string, ...args: string[]): string | null {
  const { error, status, stderr } = spawnSync(command, args, { encoding: "utf8" })
  const reason = error?.message ?? (status === 0 ? null : `${command}: ${stderr.trim()}`)
  if (reason !== null) console.log(`skipped: ${title} (${reason})`)
  return reason
}

/** As `missingTool`, for a test that needs a shim: the shims' own headers, so that a system without them skips. */
export function missingCompiler(title: string): string | null {
  const headers = ["-E", "-x", "c", "-include", "sys/sysmacros.h", "/dev/null"]
  return missingTool(title, "cc", ...headers)
}

/** Makes of a C file what LD_PRELOAD takes. */
export function compileShim(source: string, output: string): void {
  const flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
  const command = [...flags, "-o", output, source, "-ldl", "-lpthread"]
  const { status, stderr } = spawnSync("cc", command, { encoding: "utf8" })
  if (status !== 0) throw new Error(`cc: ${stderr}`)
}
