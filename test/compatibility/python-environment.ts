import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { promisify } from "node:util"

/** A Python that has the client, or why there is none. */
export type PythonEnvironment = { python: string; env: Record<string, string> } | { absent: string }

const requirements = resolve(import.meta.dirname, "python/requirements.txt")
const cache = resolve(import.meta.dirname, "../../node_modules/.cache/compatibility")
const installMsMax = 120_000
/** Nothing is written beside the sources. */
const environment = { PYTHONDONTWRITEBYTECODE: "1" }

/**
 * An environment of its own with what requirements.txt names, each file by its hash. It is kept until the requirements or the
 * Python change. Debian's Python makes none without its package python3-venv; then the packages go into a folder.
 */
export async function preparePython(): Promise<PythonEnvironment> {
  const version = await run("python3", ["-c", "import sys; print(sys.version, sys.executable)"])
  if (!version.succeeded) return { absent: "there is no python3" }
  const identity = createHash("sha256").update(version.said).update(readFileSync(requirements))
  const folder = join(cache, `python-${identity.digest("hex").slice(0, 12)}`)
  const own = join(folder, "bin", "python")
  const packages = join(folder, "packages")
  const found = () =>
    existsSync(own)
      ? { python: own, env: environment }
      : { python: "python3", env: { ...environment, PYTHONPATH: packages } }
  if (existsSync(join(folder, "ready"))) return found()
  rmSync(folder, { recursive: true, force: true })
  const isOwn = (await run("python3", ["-m", "venv", folder])).succeeded
  if (!isOwn) rmSync(folder, { recursive: true, force: true })
  const pip = ["-m", "pip", "install", "--quiet", "--retries", "2", "--timeout", "30"]
  const locked = [...pip, "--require-hashes", "--requirement", requirements]
  const installed = isOwn
    ? await run(own, locked)
    : await run("python3", [...locked, "--target", packages])
  if (!installed.succeeded) return { absent: `pip could not install it: ${installed.said}` }
  writeFileSync(join(folder, "ready"), "")
  return found()
}

/** What a command printed, or the last line that it said when it failed. */
async function run(file: string, args: string[]): Promise<{ succeeded: boolean; said: string }> {
  try {
    const { stdout } = await promisify(execFile)(file, args, { timeout: installMsMax })
    return { succeeded: true, said: stdout }
  } catch (error) {
    const { stderr = "", message } = error as { stderr?: string; message: string }
    return { succeeded: false, said: stderr.trim().split("\n").at(-1) || message }
  }
}
