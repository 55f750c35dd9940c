import { type CallOptions, type FileLifecycle, lifecycleText } from "../call-options.ts"
import { limitsOf, tryMs } from "../queue.ts"
import type { Settings } from "../settings.ts"
import { sleep, withDeadline } from "../transport/deadline.ts"
import { delayBefore } from "../transport/retry.ts"
import { readAny, send } from "../transport/send.ts"

export interface UploadOptions extends CallOptions {
  /** Default: the file's own. */
  fileName?: string
  /** Default: the file's own, else `application/octet-stream`. */
  contentType?: string
  lifecycle?: FileLifecycle
  /** Told at the start, after every part, and at the end. */
  onProgress?: (progress: UploadProgress) => void
}

export interface UploadProgress {
  sentBytes: number
  totalBytes: number
}

/** A larger file is sent in parts, several at a time, so that a cut connection costs one of them. */
const partBytes = 10 * 1024 * 1024
const wholeBytesMax = 2 * partBytes
const partsAtATime = 4
const partMs = 300_000

interface Target {
  uploadUrl: string
  fileUrl: string
}

/** Resolves to the file's URL, when the server has all of it. */
export async function upload(
  settings: Settings,
  file: Blob,
  options: UploadOptions = {},
): Promise<string> {
  return await withDeadline(limitsOf(settings, options), async (signal) => {
    const sent = new Sent(file.size, options.onProgress)
    const asked = { ...options, signal }
    return file.size > wholeBytesMax
      ? await sendParts(settings, file, asked, sent)
      : await sendWhole(settings, file, asked, sent)
  })
}

type Asked = UploadOptions & { signal: AbortSignal }

/**
 * A place takes one file once. When the answer is lost, nobody knows whether it has it, so the next try is for a new place.
 */
async function sendWhole(
  settings: Settings,
  file: Blob,
  asked: Asked,
  sent: Sent,
): Promise<string> {
  const once = { ...settings, retry: { ...settings.retry, triesMax: 1 } }
  for (let next = 2; ; next += 1) {
    const { uploadUrl, fileUrl } = await initiate(settings, "initiate", file, asked)
    try {
      await put(once, uploadUrl, file, { ...asked, type: typeOf(file, asked) })
      sent.add(file.size)
      return fileUrl
    } catch (failure) {
      asked.signal.throwIfAborted()
      const delayMs = delayBefore(next, failure, { when: "always" }, settings.retry)
      if (delayMs === null) throw failure
      await sleep(delayMs, asked.signal)
    }
  }
}

/** A part that is sent twice is the same part, so each has its own tries. */
async function sendParts(
  settings: Settings,
  file: Blob,
  asked: Asked,
  sent: Sent,
): Promise<string> {
  const { uploadUrl, fileUrl } = await initiate(settings, "initiate-multipart", file, asked)
  const count = Math.ceil(file.size / partBytes)
  const parts: { partNumber: number; etag: string }[] = []
  // The first part that fails for good ends the others.
  const ends = new AbortController()
  const signal = AbortSignal.any([asked.signal, ends.signal])
  let number = 0
  const sendNext = async (): Promise<void> => {
    while (number < count) {
      number += 1
      const partNumber = number
      const part = file.slice((partNumber - 1) * partBytes, partNumber * partBytes)
      const url = below(uploadUrl, String(partNumber))
      const etag = await put(settings, url, part, { signal })
      parts.push({ partNumber, etag })
      sent.add(part.size)
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(partsAtATime, count) }, sendNext))
  } catch (failure) {
    ends.abort(failure)
    throw failure
  }
  await send(settings, {
    method: "POST",
    url: below(uploadUrl, "complete"),
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      parts: parts.toSorted((one, other) => one.partNumber - other.partNumber),
    }),
    signal: asked.signal,
    tryMs: partMs,
    when: "always",
    withoutCredentials: true,
    read: readAny,
  })
  return fileUrl
}

async function initiate(
  settings: Settings,
  route: "initiate" | "initiate-multipart",
  file: Blob,
  asked: Asked,
): Promise<Target> {
  const { lifecycle, signal } = asked
  const type = typeOf(file, asked)
  const answer = await send(settings, {
    method: "POST",
    url: `${settings.rest}/storage/upload/${route}?storage_type=fal-cdn-v3`,
    headers: {
      "content-type": "application/json",
      ...(lifecycle === undefined ? {} : { "x-fal-object-lifecycle": lifecycleText(lifecycle) }),
    },
    body: JSON.stringify({ content_type: type, file_name: nameOf(file, asked, type) }),
    signal,
    tryMs,
    // A place that nobody knows of is empty, and stays so.
    when: "always",
    read: readAny,
  })
  const { upload_url: uploadUrl, file_url: fileUrl } = answer as Record<string, unknown>
  if (typeof uploadUrl === "string" && typeof fileUrl === "string") return { uploadUrl, fileUrl }
  throw new TypeError("The server answered no address to upload to")
}

/** The address is the authority. Resolves to the part's tag, which stands in the body or in a header. */
async function put(
  settings: Settings,
  url: string,
  body: Blob,
  { signal, type }: { signal: AbortSignal; type?: string },
): Promise<string> {
  return await send(settings, {
    method: "PUT",
    url,
    ...(type === undefined ? {} : { headers: { "content-type": type } }),
    body,
    signal,
    tryMs: partMs,
    when: "always",
    withoutCredentials: true,
    read: async (response) => {
      const answer = await readAny(response)
      const { etag } =
        typeof answer === "object" && answer !== null
          ? ({ ...answer } as Record<string, unknown>)
          : {}
      return typeof etag === "string" ? etag : (response.headers.get("etag") ?? "")
    },
  })
}

function below(address: string, segment: string): string {
  const url = new URL(address)
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${segment}`
  return url.href
}

function typeOf(file: Blob, { contentType }: UploadOptions): string {
  return contentType ?? (file.type || "application/octet-stream")
}

/** The name's end tells programs later what it is. */
function nameOf(file: Blob, { fileName }: UploadOptions, type: string): string {
  const own = fileName ?? (file as Partial<File>).name
  if (own !== undefined && own !== "") return own
  const subtype = /\/(?:x-)?([\w.-]+)/.exec(type)?.[1] ?? "octet-stream"
  return `file.${subtype === "octet-stream" ? "bin" : subtype}`
}

/** How much is there already. */
class Sent {
  readonly #totalBytes: number
  readonly #onProgress: UploadOptions["onProgress"]
  #sentBytes = 0

  constructor(totalBytes: number, onProgress: UploadOptions["onProgress"]) {
    this.#totalBytes = totalBytes
    this.#onProgress = onProgress
    this.add(0)
  }

  add(bytes: number): void {
    this.#sentBytes += bytes
    this.#onProgress?.({ sentBytes: this.#sentBytes, totalBytes: this.#totalBytes })
  }
}
