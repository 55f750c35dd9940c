import { request as requestHttp, type IncomingMessage } from "node:http"
import { request as requestHttps } from "node:https"
import { guardedLookup } from "./address-rule.ts"
import type { Media } from "./context.ts"
import { decodeDataUri } from "./data-uri.ts"
import { ModelError } from "./model-error.ts"

export interface FetchMediaOptions {
  /** The name of the file when the URL is one of ours, else null. */
  ownFile(url: URL): string | null
  /** One of our own files, without the network. */
  readOwnFile(name: string, signal: AbortSignal): Promise<Media>
  /** Loopback and private networks may be read too: for development. */
  allowPrivate: boolean
  bytesMax: number
  /** For the whole, redirects included. */
  timeoutMs: number
  redirectsMax?: number
  /** Aborting it rejects with its reason. */
  signal: AbortSignal
  /** Of the input, for the error's `loc`: `["image_url"]`, `["loras", 0, "path"]`. */
  field?: readonly (string | number)[]
}

const redirectStatuses = new Set([301, 302, 303, 307, 308])

/**
 * Reads a URL that a caller gave: one of our own files, a data URI, or http(s). A host must be global unicast, judged on
 * the address that is connected to, so that a name cannot resolve to one address for the check and another for the call.
 * Throws a `ModelError`, `file_download_error` or `file_too_large`; after an abort the signal's reason.
 *
 *     const { bytes, contentType } = await fetchMedia(input.image_url, options)
 */
export async function fetchMedia(url: string, options: FetchMediaOptions): Promise<Media> {
  const deadline = AbortSignal.timeout(options.timeoutMs)
  const signal = AbortSignal.any([options.signal, deadline])
  try {
    signal.throwIfAborted()
    return await follow(url, { ...options, signal })
  } catch (error) {
    options.signal.throwIfAborted()
    if (error instanceof MediaFault) throw error.toModelError(options)
    if (deadline.aborted) {
      throw new MediaFault(`no answer within ${options.timeoutMs / 1000} s`).toModelError(options)
    }
    if (error instanceof ModelError) throw error
    throw new MediaFault(messageOf(error), { cause: error }).toModelError(options)
  }
}

/** What went wrong, before it is told as an error of a field. */
class MediaFault extends Error {
  readonly isTooLarge: boolean

  constructor(message: string, options: ErrorOptions & { isTooLarge?: boolean } = {}) {
    super(message, options)
    this.name = "MediaFault"
    this.isTooLarge = options.isTooLarge ?? false
  }

  toModelError({ bytesMax, field = [] }: FetchMediaOptions): ModelError {
    const loc = ["body", ...field]
    const { cause } = this
    if (this.isTooLarge) {
      const msg = `The file is larger than ${bytesMax} bytes`
      return new ModelError("file_too_large", { msg, loc, ctx: { max_size: bytesMax }, cause })
    }
    const msg = `Failed to download the file: ${this.message}`
    return new ModelError("file_download_error", { msg, loc, cause })
  }
}

function tooLarge(): MediaFault {
  return new MediaFault("too large", { isTooLarge: true })
}

async function follow(given: string, options: FetchMediaOptions): Promise<Media> {
  const redirectsMax = options.redirectsMax ?? 3
  let url = parseUrl(given)
  if (url.protocol === "data:") return readDataUri(given, options.bytesMax)
  for (let redirects = 0; ; redirects++) {
    if (redirects > redirectsMax) throw new MediaFault(`more than ${redirectsMax} redirects`)
    const own = options.ownFile(url)
    if (own !== null) return await readOwn(own, options)
    const answer = await open(url, options)
    const status = answer.statusCode ?? 0
    const { location } = answer.headers
    if (!redirectStatuses.has(status) || location === undefined) return await read(answer, options)
    answer.destroy()
    url = parseUrl(location, url)
  }
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href)
  if (url === null) throw new MediaFault("not a URL")
  if (url.protocol === "http:" || url.protocol === "https:") return url
  if (url.protocol === "data:" && base === undefined) return url
  throw new MediaFault(`the scheme ${url.protocol} is not supported`)
}

function readDataUri(text: string, bytesMax: number): Media {
  // The text is never shorter than what it holds, but for base64's 4 characters for 3 bytes.
  if (text.length > bytesMax * 3 + 1024) throw tooLarge()
  const media = decodeDataUri(text)
  if (media === null) throw new MediaFault("the data URI is malformed")
  if (media.bytes.length > bytesMax) throw tooLarge()
  return media
}

async function readOwn(name: string, options: FetchMediaOptions): Promise<Media> {
  const media = await options.readOwnFile(name, options.signal)
  if (media.bytes.length > options.bytesMax) throw tooLarge()
  return media
}

function open(url: URL, options: FetchMediaOptions): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
    agent: false,
    signal: options.signal,
    headers: { accept: "*/*", "accept-encoding": "identity", "user-agent": "tintype" },
    lookup: guardedLookup(url, options),
  })
  request.once("response", resolve)
  request.once("error", reject)
  request.end()
  return promise
}

async function read(answer: IncomingMessage, options: FetchMediaOptions): Promise<Media> {
  try {
    const status = answer.statusCode ?? 0
    if (status < 200 || status > 299) throw new MediaFault(`the server answered ${status}`)
    const { bytesMax } = options
    if (Number(answer.headers["content-length"] ?? 0) > bytesMax) throw tooLarge()
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > bytesMax) throw tooLarge()
      chunks.push(chunk)
    }
    const contentType = answer.headers["content-type"] ?? "application/octet-stream"
    return { bytes: Buffer.concat(chunks), contentType }
  } finally {
    answer.destroy()
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return "code" in error && typeof error.code === "string" ? error.code : error.message
}
