import { createHash, type Hash } from "node:crypto"
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs"
import { dirname } from "node:path"
import { parentPort, workerData } from "node:worker_threads"
import { JsonCheck } from "../json-check.ts"
import { flushFolder, folderMode } from "./folder.ts"
import { incomingPath, pathOf, shardsOf } from "./layout.ts"
import type { FromDisk, ToDisk } from "./messages.ts"

/**
 * The disk's thread: writes, hashes, checks and flushes, so that none of it holds up the event loop.
 *
 * Owns the files in `incoming`. A write ends `durable` (renamed to its place), `failed` or `abandoned` (removed); what a
 * crash leaves is removed at the next open, since nothing can name it.
 */
interface Write {
  file: number
  bytes: number
  flushed: number
  hash: Hash
  json: JsonCheck | null
}

const fileMode = 0o600
/** A large file is flushed as it comes: all at its end would hold up the small ones, which this thread writes too. */
const flushEveryBytes = 32 * 1024 * 1024
const outOfSpace = new Set(["ENOSPC", "EDQUOT"])

const { folder } = workerData as { folder: string }
const writes = new Map<string, Write>()
const knownShards = new Set<string>()

function say(message: FromDisk, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer)
}

/** A new folder survives power loss only when the one that lists it was flushed. */
function makeShard(path: string): void {
  if (knownShards.has(path)) return
  mkdirSync(path, { recursive: true, mode: folderMode })
  flushFolder(dirname(path))
  knownShards.add(path)
}

function begin(name: string, json: boolean): void {
  const file = openSync(incomingPath(folder, name), "wx", fileMode)
  const check = json ? new JsonCheck() : null
  writes.set(name, { file, bytes: 0, flushed: 0, hash: createHash("sha256"), json: check })
}

/** False when the bytes cannot be JSON any more. */
function append(write: Write, bytes: Uint8Array): boolean {
  if (write.json?.push(bytes) === false) return false
  write.hash.update(bytes)
  for (let offset = 0; offset < bytes.byteLength;) {
    offset += writeSync(write.file, bytes, offset)
  }
  write.bytes += bytes.byteLength
  if (write.bytes - write.flushed >= flushEveryBytes) {
    fdatasyncSync(write.file)
    write.flushed = write.bytes
  }
  return true
}

function finish(name: string, write: Write): void {
  if (write.json?.end() === false) {
    refuseJson(name, write)
    return
  }
  fsyncSync(write.file)
  closeSync(write.file)
  const [outer, inner] = shardsOf(folder, name)
  makeShard(outer)
  makeShard(inner)
  renameSync(incomingPath(folder, name), pathOf(folder, name))
  flushFolder(inner)
  writes.delete(name)
  say({ type: "durable", name, bytes: write.bytes, sha256: write.hash.digest("hex") })
}

function refuseJson(name: string, write: Write): void {
  discard(name, write)
  say({ type: "failed", name, code: "not_json", message: "The bytes are not one JSON text" })
}

function discard(name: string, write: Write | undefined): void {
  writes.delete(name)
  try {
    if (write !== undefined) closeSync(write.file)
  } catch {
    // It was closed before what failed; the file itself goes next.
  }
  try {
    rmSync(incomingPath(folder, name), { force: true })
  } catch {
    // A disk that fails must not end the thread; the next open removes what is left.
  }
}

function apply(message: Exclude<ToDisk, { type: "close" }>): void {
  const { name } = message
  if (message.type === "begin") {
    begin(name, message.json)
    return
  }
  const write = writes.get(name)
  if (message.type === "abandon") {
    discard(name, write)
    say({ type: "abandoned", name })
    return
  }
  // Chunks that were under way when the write failed.
  if (write === undefined) return
  if (message.type === "finish") finish(name, write)
  else if (append(write, message.bytes)) giveBack(name, message.bytes.buffer)
  else refuseJson(name, write)
}

function giveBack(name: string, buffer: ArrayBuffer): void {
  say({ type: "taken", name, buffer }, [buffer])
}

function receive(message: ToDisk): void {
  if (message.type === "close") {
    for (const [name, write] of writes) discard(name, write)
    parentPort?.close()
    return
  }
  try {
    apply(message)
  } catch (error) {
    const { name } = message
    discard(name, writes.get(name))
    const isFull = error instanceof Error && "code" in error && outOfSpace.has(String(error.code))
    say({ type: "failed", name, code: isFull ? "full" : null, message: String(error) })
  }
}

parentPort?.on("message", receive)
