import { link, lstat, open, readdir, readFile, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"

/** What a journal of `drop-unsynced.c` held, and what was undone of it. */
export interface RollBack {
  /** Writes and cuts of files, and how many of them had not been flushed. */
  ranges: number
  rangesUndone: number
  /** Names made, changed and removed, and how many of them had not been flushed. */
  names: number
  namesUndone: number
  flushes: number
  /** Changes past the journal; there must be none, or the roll-back proves nothing. */
  unseen: number
}

interface Entry {
  kind: string
  a: number
  b: number
  bytes: Buffer
  /** Where in the journal it begins. */
  place: number
}

const headBytes = 21

/**
 * Takes back everything in a folder that was not flushed when its process was killed, last change first, as a loss of power
 * would have. The journal's record format is described in `drop-unsynced.c`.
 */
export async function rollBack(folder: string, journal: string): Promise<RollBack> {
  const entries = parseJournal(await readFile(journal))
  const flushedUpTo = new Map<number, number>()
  for (const { kind, a, b } of entries) {
    if (kind === "S") flushedUpTo.set(a, Math.max(flushedUpTo.get(a) ?? 0, b))
  }
  const paths = await pathsByInode([folder, dirname(journal)])
  const undone = entries
    .filter((entry) => isRange(entry) || isName(entry))
    .filter(({ a, place }) => place >= (flushedUpTo.get(a) ?? 0))
  for (const entry of undone.toReversed()) {
    if (isRange(entry)) await undoRange(entry, paths)
    else await undoName(entry, paths)
  }
  // Shared memory does not outlive the power.
  for (const name of await readdir(folder, { recursive: true })) {
    if (name.endsWith("-shm")) await rm(join(folder, name))
  }
  return {
    ranges: entries.filter(isRange).length,
    rangesUndone: undone.filter(isRange).length,
    names: entries.filter(isName).length,
    namesUndone: undone.filter(isName).length,
    flushes: entries.filter(({ kind }) => kind === "S").length,
    unseen: entries.filter(({ kind }) => kind === "X").length,
  }
}

function isRange({ kind }: Entry): boolean {
  return kind === "W"
}

function isName({ kind }: Entry): boolean {
  return kind === "C" || kind === "R" || kind === "U"
}

function parseJournal(bytes: Buffer): Entry[] {
  const entries: Entry[] = []
  let place = 0
  while (place + headBytes <= bytes.byteLength) {
    const length = bytes.readUInt32LE(place + 17)
    const end = place + headBytes + length
    if (end > bytes.byteLength) break
    entries.push({
      kind: String.fromCharCode(bytes[place]!),
      a: Number(bytes.readBigUInt64LE(place + 1)),
      b: Number(bytes.readBigUInt64LE(place + 9)),
      bytes: bytes.subarray(place + headBytes, end),
      place,
    })
    place = end
  }
  return entries
}

async function pathsByInode(folders: string[]): Promise<Map<number, string>> {
  const paths = new Map<number, string>()
  for (const folder of folders) {
    const found = await readdir(folder, { recursive: true, withFileTypes: true })
    for (const one of found) {
      const path = join(one.parentPath, one.name)
      const inode = await inodeOf(path)
      if (one.isFile() && inode !== null) paths.set(inode, path)
    }
  }
  return paths
}

async function undoRange({ a, b, bytes }: Entry, paths: Map<number, string>): Promise<void> {
  const path = paths.get(a)
  // Its last name was removed for good, and its bytes with it.
  if (path === undefined) return
  const file = await open(path, "r+")
  await file.truncate(Number(bytes.readBigUInt64LE(0)))
  const old = bytes.subarray(8)
  if (old.byteLength > 0) await file.write(old, 0, old.byteLength, b)
  await file.close()
}

async function undoName({ kind, b, bytes }: Entry, paths: Map<number, string>): Promise<void> {
  const [one = "", two = "", copy = ""] = bytes.toString().split("\0")
  if (kind === "C") {
    await rm(one, { recursive: true, force: true })
  } else if (kind === "U") {
    if ((await inodeOf(one)) === null) await link(two, one)
  } else if ((await inodeOf(two)) === b) {
    await rename(two, one)
    paths.set(b, one)
    if (copy !== "") await link(copy, two)
  }
}

async function inodeOf(path: string): Promise<number | null> {
  return await lstat(path).then(
    (info) => info.ino,
    () => null,
  )
}
