import { readAcross } from "../../blob.ts"
import { accessTo, isExpired, isPublic } from "../../domain/files/object-lifecycle.ts"
import type { FileRow } from "../../store.ts"
import { asNobody } from "../access/caller.ts"
import { type Answer, methodNotAllowed, refusal } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { type ByteRange, readRange } from "./byte-range.ts"
import { checkCapability } from "./capabilities.ts"

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
export async function answerFile(gateway: Gateway, call: Call, name: string): Promise<Answer> {
  if (call.method !== "GET" && call.method !== "HEAD")
    return methodNotAllowed(call.method, "GET, HEAD")
  const now = gateway.parts.now()
  const file = await gateway.parts.store.file(name)
  if (file === null || isExpired(file, now)) return notFound()
  const refused = refuseReading(gateway, call, file)
  if (refused !== null) return refused
  const etag = etagOf(file)
  const headers = fileHeaders(file, etag, now)
  if (matchesEtag(call.headers["if-none-match"], etag)) return { status: 304, headers, body: null }
  const range = readRange(call.headers, file.bytes, etag)
  if (range !== "unsatisfiable") return await send(gateway, call, { file, headers }, range)
  return refusal(416, "The range lies outside the file", {
    headers: {
      ...headers,
      "content-type": "application/json",
      "content-range": `bytes */${file.bytes}`,
    },
  })
}

async function send(
  { parts }: Gateway,
  { method }: Call,
  { file, headers }: { file: FileRow; headers: Record<string, string> },
  range: ByteRange | null,
): Promise<Answer> {
  const { start, end } = range ?? { start: 0, end: file.bytes - 1 }
  headers["content-length"] = String(end - start + 1)
  if (range !== null) headers["content-range"] = `bytes ${start}-${end}/${file.bytes}`
  const status = range === null ? 200 : 206
  if (method === "HEAD") return { status, headers, body: null }
  const body = await readAcross(parts.blobs, file.blobs, range ?? undefined)
  return body === null ? notFound() : { status, headers, body }
}

function notFound(): Answer {
  return refusal(404, "File not found")
}

/** A signed URL opens what the ACL would not; used late, it is no more than the URL without its signature. */
function refuseReading({ parts }: Gateway, call: Call, file: FileRow): Answer | null {
  const access = accessTo(file, readerOf(call))
  if (access === "allow") return null
  const identity = call.address.query.get("identity")
  const verdict = identity === null ? null : checkCapability(parts, "read", file.name, identity)
  if (verdict === "good") return null
  if (access === "hide") return notFound()
  const isLate = verdict === "expired"
  return refusal(
    403,
    isLate ? "This signed URL has expired" : "This file may not be read by this caller",
  )
}

/** Names of blobs are never used again, so that of its first one stands for the file. */
function etagOf({ blobs }: FileRow): string {
  return `"${blobs[0]?.name ?? ""}"`
}

/** Without a key nobody shows who they are, and the page of another site, which may read what is public, is not the owner. */
function readerOf({ caller, account, headers }: Call): string {
  const isForeign = caller.open && headers["sec-fetch-site"] === "cross-site"
  return isForeign ? asNobody().account : account
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
