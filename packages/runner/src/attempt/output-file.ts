import type { OutputFile } from "@tintype/app"
import type { Transfer } from "../link/transfer.ts"

const extensions: Record<string, string> = {
  "application/json": "json",
  "application/pdf": "pdf",
  "application/zip": "zip",
  "audio/mpeg": "mp3",
  "audio/ogg": "ogg",
  "audio/wav": "wav",
  "image/avif": "avif",
  "image/gif": "gif",
  "image/jpeg": "jpg",
  "image/png": "png",
  "image/webp": "webp",
  "model/gltf-binary": "glb",
  "text/plain": "txt",
  "video/mp4": "mp4",
  "video/webm": "webm",
}

/** Stores bytes under a new, unguessable name below `fileBase`; the URL is final once this resolves. */
export async function storeOutputFile(
  output: { bytes: Uint8Array; contentType: string; fileBase: string },
  transfer: Transfer,
  randomBytes: (count: number) => Buffer,
): Promise<OutputFile> {
  const { bytes, contentType, fileBase } = output
  const mediaType = contentType.split(";", 1)[0]!.trim().toLowerCase()
  const fileName = `${randomBytes(16).toString("base64url")}.${extensions[mediaType] ?? "bin"}`
  const name = `b/${randomBytes(4).toString("hex")}/${fileName}`
  await transfer.putFile(name, contentType, bytes)
  return {
    url: `${fileBase}/${name}`,
    content_type: contentType,
    file_name: fileName,
    file_size: bytes.byteLength,
  }
}
