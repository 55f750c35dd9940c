import type { Readable } from "node:stream"

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

export interface BlobInfo {
  name: string
  bytes: number
  sha256: string
}

export class BlobError extends Error {
  readonly code: "too_large" | "not_json" | "full"

  constructor(code: "too_large" | "not_json" | "full", message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "BlobError"
    this.code = code
  }
}
