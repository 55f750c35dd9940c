import type { BlobError } from "../../blob.ts"

/** What the disk's thread is told. Writes are told apart by the name that the blob will have. */
export type ToDisk =
  | { type: "begin"; name: string; json: boolean }
  | { type: "chunk"; name: string; bytes: Uint8Array<ArrayBuffer> }
  | { type: "finish"; name: string }
  | { type: "abandon"; name: string }
  | { type: "close" }

/** What it answers: `taken` for each chunk, whose memory it gives back, then one of the others, once. */
export type FromDisk =
  | { type: "taken"; name: string; buffer: ArrayBuffer }
  | { type: "durable"; name: string; bytes: number; sha256: string }
  | { type: "failed"; name: string; code: BlobError["code"] | null; message: string }
  | { type: "abandoned"; name: string }
