import { Readable } from "node:stream"

/**
 * Bytes by name: uploads, outputs, large payloads. Names are 128 random bits and are never reused; a blob never changes.
 *
 * Guarantees of every adapter; `blobs/blob.suite.ts` holds them:
 *
 * 1. When `write` resolves, the bytes survive `kill -9` and power loss under the name that it returns.
 * 2. A `write` that fails or whose source ends early leaves nothing that `read` or `list` shows.
 * 3. Memory is bounded: at most `chunksMax` chunks of a body are held at a time, whatever its size.
 * 4. Hashing, the JSON check and the flush happen off the event loop.
 *
 * A blob is garbage until a row of the store names it: write first, commit the row after.
 */
export interface BlobStore {
  /** Errors: `BlobError` with code `too_large`, `not_json`, `full`. */
  write(source: AsyncIterable<Uint8Array>, options?: BlobWriteOptions): Promise<BlobInfo>
  /** Null when there is no such blob. `start` and `end` are inclusive, as in an HTTP range. */
  read(name: string, range?: { start: number; end: number }): Promise<Readable | null>
  stat(name: string): Promise<{ bytes: number } | null>
  /** Deleting what is not there is no error. */
  delete(name: string): Promise<void>
  /** Names of blobs older than `olderThanMs`, for the sweep of orphans. */
  list(olderThanMs: number): AsyncIterable<string>
  close(): Promise<void>
}

export interface BlobWriteOptions {
  bytesMax?: number
  /** Refuse bytes that are not one JSON text (RFC 8259, UTF-8). */
  json?: boolean
}

/** A blob, as rows name it. */
export interface BlobRef {
  name: string
  bytes: number
}

export interface BlobInfo extends BlobRef {
  sha256: string
}

/**
 * The bytes of several blobs, one after the other, as of one; null when the first that is asked for is gone. `range` is
 * inclusive and counts over them all. No more than one of them is open at a time.
 */
export async function readAcross(
  store: Pick<BlobStore, "read">,
  blobs: readonly BlobRef[],
  range?: { start: number; end: number },
): Promise<Readable | null> {
  const [first, ...rest] = slicesOf(blobs, range)
  if (first === undefined) return Readable.from([])
  const head = await store.read(first.name, first.range)
  if (head === null || rest.length === 0) return head
  return Readable.from(concatenate(store, head, rest), { objectMode: false })
}

interface BlobSlice {
  name: string
  range?: { start: number; end: number }
}

function slicesOf(
  blobs: readonly BlobRef[],
  range: { start: number; end: number } | undefined,
): BlobSlice[] {
  if (range === undefined) return blobs.map(({ name }) => ({ name }))
  const slices: BlobSlice[] = []
  let offset = 0
  for (const { name, bytes } of blobs) {
    const start = Math.max(range.start - offset, 0)
    const end = Math.min(range.end - offset, bytes - 1)
    if (start <= end) slices.push({ name, range: { start, end } })
    offset += bytes
  }
  return slices
}

async function* concatenate(
  store: Pick<BlobStore, "read">,
  head: Readable,
  rest: BlobSlice[],
): AsyncGenerator<Uint8Array> {
  yield* head
  for (const { name, range } of rest) {
    const next = await store.read(name, range)
    // The answer has begun: that it breaks off is all that can be told.
    if (next === null) throw new Error(`The blob ${name} is gone`)
    yield* next
  }
}

export class BlobError extends Error {
  readonly code: "too_large" | "not_json" | "full"

  constructor(code: "too_large" | "not_json" | "full", message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "BlobError"
    this.code = code
  }
}
