import { createHash, type Hash } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, open, rename, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"
import { hubTriesMax } from "../limits.ts"
import { callHub, type HubAddress, type HubId, Interrupted, unavailable } from "./hub-call.ts"
import type { HubFile } from "./listing.ts"

/** Waited before another try, once for each that was made. */
const pauseMs = 250

export interface Download {
  hub: HubAddress
  id: HubId
  /** The model's folder while it is not complete. */
  folder: string
  signal: AbortSignal
  /** Bytes that came, or were there. Negative where some had to be thrown away. */
  onBytes: (bytes: number) => void
}

/**
 * Makes a file of the model's be there, whole: what an earlier try left in `{path}.part` is kept, the rest is asked for, and
 * the name is given when the checksum is right.
 */
export async function download(file: HubFile, work: Download): Promise<void> {
  const path = join(work.folder, file.path)
  await mkdir(dirname(path), { recursive: true })
  if (await isWhole(path, file)) {
    work.onBytes(file.bytes)
    return
  }
  for (let tried = 1; ; tried++) {
    try {
      await fetchRest(`${path}.part`, file, work)
      await rename(`${path}.part`, path)
      return
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error
      if (tried === hubTriesMax) {
        const told = `${work.hub.url} did not give ${file.path} in ${hubTriesMax} tries (${error.message})`
        throw unavailable(work.id, told, { cause: error })
      }
      await wait(pauseMs * tried, undefined, { signal: work.signal })
    }
  }
}

async function fetchRest(part: string, file: HubFile, work: Download): Promise<void> {
  let hash = hashOf(file)
  let there = await hashFile(part, hash)
  if (there > file.bytes) {
    await rm(part)
    return fetchRest(part, file, work)
  }
  let counted = 0
  const count = (bytes: number) => {
    counted += bytes
    work.onBytes(bytes)
  }
  count(there)
  try {
    if (there < file.bytes || file.bytes === 0) {
      const { hub, id, signal } = work
      const revision = encodeURIComponent(id.revision)
      const path = `/${id.model}/resolve/${revision}/${file.path}`
      const headers = { "accept-encoding": "identity", range: `bytes=${there}-` }
      const call = { path, signal, ...(there === 0 ? {} : { headers }) }
      await callHub(hub, id, call, async (answer, alive) => {
        if (answer.status !== 206 && there > 0) {
          // This host gives whole files only.
          count(-there)
          there = 0
          hash = hashOf(file)
        }
        let size = there
        there = await append(part, there, answer, (bytes) => {
          alive()
          size += bytes.byteLength
          // Before it is written: what a host that does not end sends would fill the disk.
          if (size > file.bytes) throw new Interrupted(`it sends more than ${file.bytes} bytes`)
          hash.update(bytes)
          count(bytes.byteLength)
        })
      })
    }
    await check(part, there, hash, file)
  } catch (error) {
    // The next try counts what is there again.
    work.onBytes(-counted)
    throw error
  }
}

/** Gives the size of the file then; `onChunk` may refuse what comes. What was written is flushed before it gets its name. */
async function append(
  path: string,
  start: number,
  answer: Response,
  onChunk: (bytes: Uint8Array) => void,
): Promise<number> {
  const handle = await open(path, start === 0 ? "w" : "a")
  let size = start
  try {
    for await (const bytes of answer.body ?? []) {
      onChunk(bytes)
      await handle.write(bytes)
      size += bytes.byteLength
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
  return size
}

async function check(part: string, size: number, hash: Hash, file: HubFile): Promise<void> {
  if (size < file.bytes) throw new Interrupted(`it ended after ${size} of ${file.bytes} bytes`)
  if (size === file.bytes && hash.digest("hex") === file.checksum.hex) return
  await rm(part)
  throw new Interrupted("its checksum was wrong")
}

async function isWhole(path: string, file: HubFile): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  if (found?.size !== file.bytes) return false
  const hash = hashOf(file)
  await hashFile(path, hash)
  return hash.digest("hex") === file.checksum.hex
}

function hashOf({ checksum, bytes }: HubFile): Hash {
  return checksum.kind === "sha256"
    ? createHash("sha256")
    : createHash("sha1").update(`blob ${bytes}\0`)
}

/** Gives the size, 0 where there is no such file. */
async function hashFile(path: string, hash: Hash): Promise<number> {
  if ((await stat(path).catch(() => null)) === null) return 0
  let size = 0
  for await (const bytes of createReadStream(path)) {
    hash.update(bytes)
    size += bytes.length
  }
  return size
}
