import { accessTo, isExpired, isPublic } from "../domain/object-lifecycle.ts"
import type { FileRow } from "../store.ts"
import { asNobody } from "./access/caller.ts"
import { type Answer, methodNotAllowed, notServed, refusal } from "./answer.ts"
import type { Call, Gateway } from "./parts.ts"

/** What a browser may show in its own window; anything else is handed over as a download. */
const inlineTypes = new Set([
  "image/png",
  "image/jpeg",
  "image/webp",
  "image/gif",
  "image/avif",
  "video/mp4",
  "video/webm",
  "audio/mpeg",
  "audio/mp3",
  "audio/wav",
  "audio/x-wav",
  "audio/wave",
  "audio/ogg",
  "audio/webm",
  "audio/mp4",
  "video/ogg",
  "application/ogg",
])

/** `GET|HEAD /files/{name}`: a file's bytes for everyone who knows its name, unless its ACL says otherwise. */
export async function answerFile(gateway: Gateway, call: Call): Promise<Answer> {
  const name = fileName(call.address.path)
  if (call.method === "POST" || call.method === "PUT") return notServed("Uploading files")
  if (call.method !== "GET" && call.method !== "HEAD")
    return methodNotAllowed(call.method, "GET, HEAD")
  const now = gateway.parts.now()
  const file = name === null ? null : await gateway.parts.store.file(name)
  const access = file === null || isExpired(file, now) ? "hide" : accessTo(file, readerOf(call))
  if (file === null || access === "hide") return refusal(404, "File not found")
  if (access === "forbid") return refusal(403, "This file may not be read by this caller")
  const etag = `"${file.blob}"`
  const headers = fileHeaders(file, etag, now)
  if (matchesEtag(call.headers["if-none-match"], etag)) return { status: 304, headers, body: null }
  const range = readRange(call, file, etag)
  if (range === "unsatisfiable") {
    return refusal(416, "The range lies outside the file", {
      headers: {
        ...headers,
        "content-type": "application/json",
        "content-range": `bytes */${file.bytes}`,
      },
    })
  }
  const { start, end } = range ?? { start: 0, end: file.bytes - 1 }
  headers["content-length"] = String(end - start + 1)
  if (range !== null) headers["content-range"] = `bytes ${start}-${end}/${file.bytes}`
  const status = range === null ? 200 : 206
  if (call.method === "HEAD") return { status, headers, body: null }
  const body = await gateway.parts.blobs.read(file.blob, range ?? undefined)
  return body === null ? refusal(404, "File not found") : { status, headers, body }
}

/** Without a key nobody shows who they are, and the page of another site, which may read what is public, is not the owner. */
function readerOf({ caller, account, headers }: Call): string {
  const isForeign = caller.open && headers["sec-fetch-site"] === "cross-site"
  return isForeign ? asNobody().account : account
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

/** The longest time that the hosted service lets a cache keep a file. */
const maxAgeSeconds = 5_184_000

/** What may be read by some only, or not for ever, must not be read from a cache by others, or afterwards. */
function cacheControl(file: FileRow, now: number): string {
  if (!isPublic(file)) return "private, no-cache"
  const left = file.expiresAt === null ? Infinity : Math.floor((file.expiresAt - now) / 1_000)
  return `public, max-age=${Math.min(left, maxAgeSeconds)}, immutable`
}

function fileHeaders(file: FileRow, etag: string, now: number): Record<string, string> {
  const type = file.contentType.split(";", 1)[0]?.trim().toLowerCase() ?? ""
  return {
    "content-type": /^[\x20-\x7e]+$/.test(file.contentType)
      ? file.contentType
      : "application/octet-stream",
    "content-disposition": inlineTypes.has(type) ? "inline" : "attachment",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    "cache-control": cacheControl(file, now),
    "access-control-allow-origin": "*",
    "accept-ranges": "bytes",
    etag,
  }
}

function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  // If-None-Match compares weakly: a cache may have weakened our strong tag.
  return header.split(",").some((tag) => ["*", etag, `W/${etag}`].includes(tag.trim()))
}

type Range = { start: number; end: number }

/** The one range asked for; null for the whole file, as for several ranges and for what is no range at all. */
function readRange(call: Call, file: FileRow, etag: string): Range | "unsatisfiable" | null {
  const ifRange = call.headers["if-range"]
  if (typeof ifRange === "string" && ifRange.trim() !== etag) return null
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(call.headers.range ?? "")
  if (match === null) return null
  const [first = "", last = ""] = match.slice(1)
  if (first === "" && last === "") return null
  if (first === "") {
    const length = Math.min(Number(last), file.bytes)
    return length === 0 ? "unsatisfiable" : { start: file.bytes - length, end: file.bytes - 1 }
  }
  const start = Number(first)
  const end = last === "" ? file.bytes - 1 : Math.min(Number(last), file.bytes - 1)
  if (last !== "" && Number(last) < start) return null
  return start >= file.bytes ? "unsatisfiable" : { start, end }
}
