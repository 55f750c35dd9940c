import { storedType } from "../../domain/files/file-name.ts"
import type { UploadRow } from "../../store.ts"
import type { Call, Gateway } from "../parts.ts"
import { makeCapability } from "./capabilities.ts"
import { lifecycleOf } from "./lifecycle-headers.ts"
import { newFileName } from "./paths.ts"
import { openUpload, overQuota, roomOf } from "./receiving.ts"

/** A file that is to come: its name, its limits and who may read it are settled before its first byte. */

export interface AnnouncedFile {
  fileName: string
  contentType: string | undefined
  multipart: boolean
}

/** The upload that this call asks for; nothing is stored yet. */
export async function planUpload(
  gateway: Gateway,
  call: Call,
  { fileName, contentType, multipart }: AnnouncedFile,
): Promise<UploadRow> {
  const { store, config } = gateway.parts
  const type = storedType(contentType)
  const { settings } = await store.storage(call.account)
  const createdAt = gateway.parts.now()
  return {
    file: newFileName(fileName, type),
    account: call.account,
    contentType: type,
    multipart,
    bytesMax: config.limits.fileBytesMax,
    lifecycle: lifecycleOf(gateway, call, settings),
    createdAt,
    expiresAt: createdAt + config.retention.uploadMs,
  }
}

/** Announces the file durably. */
export async function announce(
  gateway: Gateway,
  call: Call,
  file: AnnouncedFile,
): Promise<{ fileUrl: string; capability: string }> {
  const { parts } = gateway
  const upload = await planUpload(gateway, call, file)
  if ((await roomOf(parts, call.account)) === 0) throw overQuota(parts)
  await openUpload(parts, upload)
  return {
    fileUrl: `${call.address.fileBase}/${upload.file}`,
    capability: makeCapability(parts, "upload", upload.file, upload.expiresAt),
  }
}
