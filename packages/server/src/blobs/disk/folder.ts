import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { incomingFolder, incomingPath } from "./layout.ts"

export const folderMode = 0o700

/** Makes the folder where there is none, durably, and removes what an earlier life left half written. */
export function prepareFolder(folder: string): void {
  mkdirSync(incomingFolder(folder), { recursive: true, mode: folderMode })
  // Its own name too: a blob is not there after a power loss if the folder of all of them is not.
  flushFolder(dirname(folder))
  for (const name of readdirSync(incomingFolder(folder))) {
    rmSync(incomingPath(folder, name), { recursive: true, force: true })
  }
}

/** The names in a folder survive power loss only when the folder itself was flushed. */
export function flushFolder(path: string): void {
  const handle = openSync(path, "r")
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
