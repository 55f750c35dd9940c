/** Extension → content type, the first of several extensions is the one we write. */
const contentTypes: Record<string, string> = {
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".png": "image/png",
  ".webp": "image/webp",
  ".gif": "image/gif",
  ".avif": "image/avif",
  ".mp4": "video/mp4",
  ".webm": "video/webm",
  ".mov": "video/quicktime",
  ".mp3": "audio/mpeg",
  ".wav": "audio/wav",
  ".ogg": "audio/ogg",
  ".flac": "audio/flac",
  ".glb": "model/gltf-binary",
  ".json": "application/json",
  ".zip": "application/zip",
  ".txt": "text/plain",
}

const unknownType = "application/octet-stream"

export function contentTypeOf(extension: string): string {
  return contentTypes[extension.toLowerCase()] ?? unknownType
}

/** `.bin` for what is not in the table. Parameters (`; charset=…`) are ignored. */
export function extensionOf(contentType: string): string {
  const type = contentType.split(";")[0]!.trim().toLowerCase()
  for (const [extension, known] of Object.entries(contentTypes))
    if (known === type) return extension
  return ".bin"
}

export function isKnownExtension(extension: string): boolean {
  return Object.hasOwn(contentTypes, extension.toLowerCase())
}
