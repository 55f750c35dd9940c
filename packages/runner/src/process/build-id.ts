import { createHash } from "node:crypto"
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"

const codeFile = /\.(?:ts|js|mjs|json)$/
const testFile = /\.(?:test|suite)\.ts$/

/**
 * What code a runner runs, in 16 hex digits: a hash of the version and of the names, sizes and times of the code
 * files under `folders`. A server computes it once and tells it to the runner that it starts, so that a later server can
 * see whether that runner is of its own build.
 */
export async function buildId(version: string, folders: string[]): Promise<string> {
  const hash = createHash("sha256").update(`${version}\n${process.version}\n`)
  for (const folder of folders.toSorted()) {
    hash.update(`${folder}\n`)
    for (const line of await listCode(folder)) hash.update(`${line}\n`)
  }
  return hash.digest("hex").slice(0, 16)
}

async function listCode(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && isCode(entry.name))
  const lines = files.map(async (entry) => {
    const path = join(entry.parentPath, entry.name)
    const { size, mtimeMs } = await stat(path)
    return `${path} ${size} ${mtimeMs}`
  })
  return (await Promise.all(lines)).toSorted()
}

function isCode(name: string): boolean {
  return codeFile.test(name) && !testFile.test(name)
}
