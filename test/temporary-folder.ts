import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** One folder for all that a run of the tests leaves lying about, removed with it. A short name: sockets lie in it. */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "tt-"))
  process.env["TMPDIR"] = folder
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}
