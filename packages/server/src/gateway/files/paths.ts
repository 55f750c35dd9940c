import { randomBytes } from "node:crypto"
import { safeFileName } from "../../domain/files/file-name.ts"

/** What the paths below `/files/` mean. A file's own URL is the beginning of every URL by which it comes in. */

export type FilePath =
  /** The name of what can be no file is empty. */
  | { kind: "file"; name: string }
  | { kind: "signature"; name: string }
  /** Where bytes are sent with a key or an upload token. */
  | { kind: "intake"; multipart: boolean }
  | { kind: "upload"; upload: UploadPath }

/** The address of an upload, or of a part of it. Whoever knows its capability may send what it is for, and needs no key. */
export interface UploadPath {
  /** Of the file. */
  name: string
  capability: string
  /** Without the part. */
  path: string
  part: number | "complete" | null
}

const ownName = "b/[0-9a-f]{8}/[\\w.-]+"
const uploadPattern = new RegExp(
  `^(/files/(${ownName})/(?:upload|multipart)/([\\w.-]+))(?:/(\\d{1,9}|complete))?/?$`,
)
const signaturePattern = new RegExp(`^/files/(${ownName})/sign/?$`)

export function parseFilePath(path: string): FilePath {
  const intake = /^\/files\/upload(\/multipart)?\/?$/.exec(path)
  if (intake !== null) return { kind: "intake", multipart: intake[1] !== undefined }
  const upload = parseUploadPath(path)
  if (upload !== null) return { kind: "upload", upload }
  const signed = signaturePattern.exec(path)?.[1]
  if (signed !== undefined) return { kind: "signature", name: signed }
  return { kind: "file", name: fileName(path) ?? "" }
}

export function parseUploadPath(path: string): UploadPath | null {
  const [, whole, name, capability, part] = uploadPattern.exec(path) ?? []
  if (whole === undefined || name === undefined || capability === undefined) return null
  const number = part === undefined ? null : part === "complete" ? part : Number(part)
  return { name, capability, path: whole, part: number }
}

/** What follows `/files/`: the name under which its row stands. */
export function fileName(path: string): string | null {
  const match = /^\/files\/(.+)$/.exec(path)
  try {
    return match?.[1] === undefined ? null : decodeURIComponent(match[1])
  } catch {
    return null
  }
}

/** The name of the file whose URL this is; null for another URL, and for one with a query. */
export function fileNameOfUrl(text: string): string | null {
  const url = URL.parse(text)
  return url === null || url.search !== "" || url.hash !== "" ? null : fileName(url.pathname)
}

/** 128 random bits make it unguessable; what stands behind them is for people. */
export function newFileName(given: string, contentType: string): string {
  const [folder, secret] = [randomBytes(4).toString("hex"), randomBytes(16).toString("base64url")]
  return `b/${folder}/${secret}_${safeFileName(given, contentType)}`
}
