import { once } from "node:events"
import { open, opendir, rm, stat } from "node:fs/promises"
import type { Readable } from "node:stream"
import { Worker } from "node:worker_threads"
import { BlobError, type BlobInfo, type BlobStore, type BlobWriteOptions } from "../../blob.ts"
import { prepareFolder } from "./folder.ts"
import { isName, newName, pathOf } from "./layout.ts"
import type { FromDisk, ToDisk } from "./messages.ts"

export interface DiskBlobsOptions {
  /** Made 0700 when it is not there. */
  folder: string
  /** Pieces of a body that are held at a time, of 256 KiB at most; default 16. */
  chunksMax?: number
  /** After each write: was it refused because there is no space? */
  onSpace?: (isFull: boolean) => void
}

/** A larger chunk of a source is copied piece by piece, so that no copy holds up the event loop. */
const pieceBytesMax = 256 * 1024
/** Read at a time: with Node's 64 KiB a large file came at two thirds of the speed. */
const readBytes = 512 * 1024

/** Opens the folder and sweeps what an earlier life left half written. Only one process may have it open. */
export async function openDiskBlobs(options: DiskBlobsOptions): Promise<BlobStore> {
  const { folder, chunksMax = 16, onSpace = () => {} } = options
  try {
    prepareFolder(folder)
  } catch (cause) {
    throw new Error(`Cannot open the blobs in ${folder}: ${String(cause)}`, { cause })
  }
  return new DiskBlobs(folder, chunksMax, onSpace)
}

/** One write on its way through the disk's thread: what is under way, and what it waits for. */
class DiskWrite {
  readonly name = newName()
  #pieces = 0
  /** What pieces were copied into that are written: a gibibyte of garbage is too much to wait for its collection. */
  readonly #spare: ArrayBuffer[] = []
  #failure: Error | null = null
  #result: BlobInfo | null = null
  #isAbandoned = false
  #wake: (() => void) | null = null

  hear(message: FromDisk): void {
    if (message.type === "taken") {
      this.#pieces -= 1
      this.#spare.push(message.buffer)
    }
    if (message.type === "abandoned") this.#isAbandoned = true
    if (message.type === "durable") {
      const { name, bytes, sha256 } = message
      this.#result = { name, bytes, sha256 }
    }
    if (message.type === "failed") {
      const { code, message: text } = message
      this.#failure = code === null ? new Error(text) : new BlobError(code, text)
    }
    this.#wake?.()
  }

  fail(error: Error): void {
    this.#failure = error
    this.#isAbandoned = true
    this.#wake?.()
  }

  get failure(): Error | null {
    return this.#failure
  }

  /** Waits until another piece may be sent. Throws what the disk's thread had to say against it. */
  async room(chunksMax: number): Promise<void> {
    await this.#until(() => this.#pieces < chunksMax)
    this.#pieces += 1
  }

  /** The source may use its buffer again, and a pooled buffer cannot be given away. */
  copy(piece: Uint8Array): Uint8Array<ArrayBuffer> {
    const spare = this.#spare.pop()
    const { byteLength } = piece
    if (spare === undefined || spare.byteLength < byteLength) return new Uint8Array(piece)
    const bytes = new Uint8Array(spare, 0, byteLength)
    bytes.set(piece)
    return bytes
  }

  async durable(): Promise<BlobInfo> {
    await this.#until(() => this.#result !== null)
    if (this.#result === null) throw new Error("A write ended without a result")
    return this.#result
  }

  async abandoned(): Promise<void> {
    while (!this.#isAbandoned) await this.#next()
  }

  async #until(isReached: () => boolean): Promise<void> {
    while (this.#failure === null && !isReached()) await this.#next()
    if (this.#failure !== null) throw this.#failure
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

/** Blobs as files. What changes the disk goes through one thread; reads use the system's own pool. */
class DiskBlobs implements BlobStore {
  readonly #folder: string
  readonly #chunksMax: number
  readonly #onSpace: (isFull: boolean) => void
  readonly #writes = new Map<string, DiskWrite>()
  /** Started by the first write: a server that stores nothing large does without its memory. */
  #worker: Worker | null = null
  #closed: Promise<void> | null = null
  #ended: Error | null = null

  constructor(folder: string, chunksMax: number, onSpace: (isFull: boolean) => void) {
    this.#folder = folder
    this.#chunksMax = chunksMax
    this.#onSpace = onSpace
  }

  async write(
    source: AsyncIterable<Uint8Array>,
    { bytesMax = Number.POSITIVE_INFINITY, json = false }: BlobWriteOptions = {},
  ): Promise<BlobInfo> {
    if (this.#ended !== null) throw this.#ended
    const write = new DiskWrite()
    this.#writes.set(write.name, write)
    this.#say({ type: "begin", name: write.name, json })
    try {
      await this.#send(write, source, bytesMax)
      this.#say({ type: "finish", name: write.name })
      const blob = await write.durable()
      this.#onSpace(false)
      return blob
    } catch (error) {
      if (error instanceof BlobError && error.code === "full") this.#onSpace(true)
      // Said after every piece, so when it is answered nothing is left, whatever failed.
      this.#say({ type: "abandon", name: write.name })
      await write.abandoned()
      throw error
    } finally {
      this.#writes.delete(write.name)
    }
  }

  async read(name: string, range?: { start: number; end: number }): Promise<Readable | null> {
    if (!isName(name)) return null
    const file = await orNull(open(pathOf(this.#folder, name), "r"))
    return file === null ? null : file.createReadStream({ ...range, highWaterMark: readBytes })
  }

  async stat(name: string): Promise<{ bytes: number } | null> {
    if (!isName(name)) return null
    const found = await orNull(stat(pathOf(this.#folder, name)))
    return found === null ? null : { bytes: found.size }
  }

  async delete(name: string): Promise<void> {
    if (isName(name)) await rm(pathOf(this.#folder, name), { force: true })
  }

  async *list(olderThanMs: number): AsyncIterable<string> {
    const before = Date.now() - olderThanMs
    for (const outer of await shardNames(this.#folder)) {
      for (const inner of await shardNames(`${this.#folder}/${outer}`)) {
        for await (const { name } of await opendir(`${this.#folder}/${outer}/${inner}`)) {
          if (!isName(name)) continue
          const found = await orNull(stat(pathOf(this.#folder, name)))
          if (found !== null && found.mtimeMs <= before) yield name
        }
      }
    }
  }

  /** Ends what is being written; those writes reject. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#ended === null && this.#worker !== null) {
      const exit = once(this.#worker, "exit")
      this.#say({ type: "close" })
      await exit
    }
    this.#end(closedError())
  }

  #start(): Worker {
    const isSource = import.meta.url.endsWith(".ts")
    const entry = new URL(isSource ? "./worker.ts" : "./worker.js", import.meta.url)
    const worker = new Worker(entry, {
      workerData: { folder: this.#folder },
      ...(isSource ? { execArgv: ["--conditions=tintype-source"] } : {}),
    })
    worker.on("message", (message: FromDisk) => this.#writes.get(message.name)?.hear(message))
    worker.on("error", (error) =>
      this.#end(error instanceof Error ? error : new Error(String(error))),
    )
    worker.on("exit", () => this.#end(closedError()))
    return worker
  }

  async #send(
    write: DiskWrite,
    source: AsyncIterable<Uint8Array>,
    bytesMax: number,
  ): Promise<void> {
    let total = 0
    for await (const chunk of source) {
      total += chunk.byteLength
      if (total > bytesMax) throw new BlobError("too_large", `More than ${bytesMax} bytes`)
      for (let start = 0; start < chunk.byteLength; start += pieceBytesMax) {
        await write.room(this.#chunksMax)
        const bytes = write.copy(chunk.subarray(start, start + pieceBytesMax))
        this.#say({ type: "chunk", name: write.name, bytes }, [bytes.buffer])
      }
      if (write.failure !== null) throw write.failure
    }
  }

  #say(message: ToDisk, transfer: ArrayBuffer[] = []): void {
    this.#worker ??= this.#start()
    this.#worker.postMessage(message, transfer)
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const write of this.#writes.values()) write.fail(this.#ended)
  }
}

function closedError(): Error {
  return new Error("The blobs are closed")
}

async function shardNames(folder: string): Promise<string[]> {
  const names: string[] = []
  for await (const entry of await opendir(folder)) {
    if (entry.isDirectory() && /^[0-9a-f]{2}$/.test(entry.name)) names.push(entry.name)
  }
  return names.toSorted()
}

async function orNull<Value>(found: Promise<Value>): Promise<Value | null> {
  try {
    return await found
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null
    throw error
  }
}
