import type { IncomingMessage } from "node:http"
import { PlatformError } from "@tintype/protocol"
import { BlobError, type BlobInfo } from "../../blob.ts"
import type { UploadResult, UploadRow } from "../../store.ts"
import { badRequest, RefusedError } from "../answer.ts"
import { withPace } from "../intake.ts"
import type { Gateway, GatewayParts } from "../parts.ts"

/** Bytes of a file on their way in: straight to the disk, hashed, flushed; then the row that names them. */

/**
 * The body as a blob that survives a loss of power. It is garbage until a row names it: whoever gets it adds that row or
 * deletes it. Refused: 413 beyond `bytesMax` and beyond what its account may still store, 400 when it ends early.
 */
export async function receiveBlob(
  { parts }: Gateway,
  raw: IncomingMessage,
  { account, bytesMax }: { account: string; bytesMax: number },
): Promise<BlobInfo> {
  const room = await roomOf(parts, account)
  const limit = Math.min(bytesMax, room)
  const refuse = () => (room < bytesMax ? overQuota(parts) : tooLarge(bytesMax))
  if (Number(raw.headers["content-length"] ?? 0) > limit) throw refuse()
  const { timing, limits } = parts.config
  const pace = { graceMs: timing.bodyGraceMs, bytesPerSecondMin: limits.bodyBytesPerSecondMin }
  try {
    return await parts.blobs.write(withPace(raw, pace), { bytesMax: limit })
  } catch (error) {
    if (error instanceof BlobError && error.code === "too_large") throw refuse()
    throw error
  }
}

/** Makes the blob the whole of the upload's file. `announced`: its row goes into the same commit. */
export async function addWholeFile(
  { parts }: Gateway,
  upload: UploadRow,
  blob: BlobInfo,
  { announced }: { announced: boolean },
): Promise<UploadResult> {
  const { store, config } = parts
  const { storageBytesMax } = config.limits
  const { name, bytes } = blob
  return await orDelete(parts, blob, async () => {
    const opened = announced ? null : openUpload(parts, upload)
    const content = { blob: { name, bytes } }
    const ended = store.finishUpload({ file: upload.file, content, storageBytesMax })
    const [, result] = await Promise.all([opened, ended])
    return result
  })
}

/** What `add` resolves to; unless that is that a row names the blob, it is deleted. */
export async function orDelete<Added extends { result: string }>(
  { blobs }: Pick<GatewayParts, "blobs">,
  { name }: BlobInfo,
  add: () => Promise<Added>,
): Promise<Added> {
  let named = false
  try {
    const added = await add()
    named = added.result === "added"
    return added
  } finally {
    // What cannot be deleted now is swept later.
    if (!named) await blobs.delete(name).catch(() => {})
  }
}

/** Refused when the account has too many that it did not finish. */
export async function openUpload(
  { store, config }: Pick<GatewayParts, "store" | "config">,
  upload: UploadRow,
): Promise<void> {
  const { uploadsMax } = config.limits
  await store.openUpload(upload, uploadsMax).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "limited")) throw error
    const detail = `The account has ${uploadsMax} unfinished uploads; complete them, or try again later`
    throw new PlatformError("concurrent_requests_limit", detail)
  })
}

/** How many bytes the account may still store, as of now; the store decides in the end. */
export async function roomOf({ store, config }: GatewayParts, account: string): Promise<number> {
  const { storageBytesMax } = config.limits
  if (storageBytesMax === 0) return Infinity
  return Math.max(0, storageBytesMax - (await store.storage(account)).bytes)
}

export function overQuota({ config }: Pick<GatewayParts, "config">): PlatformError {
  const detail = `The account may store ${config.limits.storageBytesMax} bytes, and this would be more`
  return new PlatformError("storage_quota_exceeded", detail)
}

export function tooLarge(bytesMax: number): RefusedError {
  return new RefusedError(badRequest(`The file is larger than ${bytesMax} bytes`, { status: 413 }))
}
