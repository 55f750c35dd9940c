import { randomBytes } from "node:crypto"
import { join } from "node:path"

/** Where blobs lie: `ab/cd/abcd…`, 65,536 folders at most; what is being written lies in `incoming`. */

const namePattern = /^[0-9a-f]{32}$/

export function newName(): string {
  return randomBytes(16).toString("hex")
}

/** Anything else names no blob, and is never made into a path. */
export function isName(name: string): boolean {
  return namePattern.test(name)
}

/** The folders of a blob, outermost first. */
export function shardsOf(folder: string, name: string): [outer: string, inner: string] {
  const outer = join(folder, name.slice(0, 2))
  return [outer, join(outer, name.slice(2, 4))]
}

export function pathOf(folder: string, name: string): string {
  return join(shardsOf(folder, name)[1], name)
}

export function incomingFolder(folder: string): string {
  return join(folder, "incoming")
}

export function incomingPath(folder: string, name: string): string {
  return join(incomingFolder(folder), name)
}
