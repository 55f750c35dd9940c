import type { Media } from "./context.ts"

const header = /^data:([^,]*?)(;base64)?,/i

/**
 * Decodes a data URI, base64 or percent-encoded; null when it is malformed.
 *
 *     decodeDataUri("data:text/plain;base64,aGk=") // { bytes: "hi", contentType: "text/plain" }
 */
export function decodeDataUri(text: string): Media | null {
  const match = header.exec(text)
  if (match === null) return null
  const [start, type = "", base64] = match
  const contentType = type === "" || type.startsWith(";") ? `text/plain${type}` : type
  const data = text.slice(start.length)
  const bytes = base64 === undefined ? decodePercent(data) : decodeBase64(data)
  return bytes === null ? null : { bytes, contentType }
}

function decodeBase64(data: string): Uint8Array | null {
  const decoded = data.includes("%") ? decodePercent(data)?.toString("latin1") : data
  const plain = decoded?.replace(/\s+/g, "")
  // Buffer skips what is no base64; a caller's mistake should be told instead.
  if (plain === undefined || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(plain)) return null
  return Buffer.from(plain, "base64")
}

function decodePercent(data: string): Buffer | null {
  if (/%(?![0-9a-fA-F]{2})/.test(data)) return null
  const latin = Buffer.from(data, "utf8").toString("latin1")
  const decoded = latin.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(decoded, "latin1")
}
