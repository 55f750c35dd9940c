import type { IncomingMessage, ServerResponse } from "node:http"
import { pipeline } from "node:stream/promises"
import { BlobError, type BlobRef, type BlobStore, readAcross } from "../../blob.ts"
import type { Limits } from "../../config.ts"
import type { RequestRecord } from "../../domain/request.ts"
import { storedType } from "../../domain/files/file-name.ts"
import {
  accessTo,
  expiryOf,
  isExpired,
  settleLifecycle,
} from "../../domain/files/object-lifecycle.ts"
import { StoreError, type FileRow, type Store } from "../../store.ts"
import type { Dispatcher } from "../dispatcher.ts"

export interface TransferParts {
  store: Store
  blobs: BlobStore
  dispatcher: Dispatcher
  limits: Limits
  /** How long a file is kept whose request says nothing; 0: for ever. */
  fileMs: number
  /** Epoch milliseconds. */
  now(): number
  log(entry: Record<string, unknown>): void
}

type Exchange = { request: IncomingMessage; response: ServerResponse; url: URL }

const route = /^\/_\/transfer\/([0-9a-f]{32,44})\/(input|output|files\/([^?]+))$/

/** A file's name below `/files/`; 128 random bits of it make it unguessable. */
const fileName = /^b\/[0-9a-f]{8}\/[A-Za-z0-9_-]{22}\.[a-z0-9]{1,8}$/

/**
 * Bodies too large for a frame, and files, between a runner and the blobs. The lease is the capability; it is
 * looked up in the store, as this process may have just started and not know its links yet. It is one only for the holder of
 * the key whose session it belongs to.
 */
export class Transfers {
  readonly #parts: TransferParts

  constructor(parts: TransferParts) {
    this.#parts = parts
  }

  /** `key`: the one that was shown; null for the local runner's secret. */
  handle(request: IncomingMessage, response: ServerResponse, key: string | null): void {
    // A machine that went away says nothing.
    request.setTimeout(idleMs)
    this.#route({ request, response }, key).catch((error: unknown) => {
      const status = statusOf(error)
      // A peer that hung up in the middle is known by its link, if it is news at all.
      if (status === 500 && !request.destroyed && !response.destroyed) {
        this.#parts.log({ event: "transfer_failed", error: String(error) })
      }
      if (response.headersSent) response.destroy()
      else answer({ request, response }, status)
    })
  }

  async #route(
    { request, response }: Pick<Exchange, "request" | "response">,
    key: string | null,
  ): Promise<void> {
    const target = request.url ?? "/"
    if (!URL.canParse(target, "http://link")) return answer({ request, response }, 404)
    const url = new URL(target, "http://link")
    const exchange = { request, response, url }
    const match = route.exec(decodeURI(url.pathname))
    if (match === null) return answer(exchange, 404)
    const [, lease, what, name] = match
    const record = await this.#parts.store.leaseHolder(lease!)
    const session = record?.attempt?.session
    if (record === null || session === undefined) return answer(exchange, 401)
    if (!this.#parts.dispatcher.isOf(session, key)) return answer(exchange, 401)
    switch (`${request.method} ${name === undefined ? what : "file"}`) {
      case "GET input":
        return await this.#sendInput(exchange, record)
      case "PUT output":
        return await this.#takeOutput(exchange, lease!)
      case "PUT file":
        return await this.#takeFile(exchange, record, name!)
      case "GET file":
        return await this.#sendFile(exchange, record, name!)
      default:
        return answer(exchange, 405)
    }
  }

  async #sendInput(exchange: Exchange, record: RequestRecord): Promise<void> {
    const body = await this.#parts.store.body(record.sequence, "input")
    if (body === null) return answer(exchange, 404)
    if ("inline" in body) {
      exchange.response.end(body.inline)
      return
    }
    await this.#sendBlobs(exchange, [{ name: body.blob, bytes: body.bytes }], {})
  }

  async #takeOutput(exchange: Exchange, lease: string): Promise<void> {
    const { dispatcher, limits } = this.#parts
    const find = () => dispatcher.holderOf(lease)?.attempts.get(lease)
    // Its session has not said hello to this process yet; the runner tries again.
    if (find() === undefined) return answer(exchange, 503)
    const { name: blob, bytes } = await this.#write(exchange, limits.bodyBytesMax)
    // Looked up anew: the session may have got another link while the body came.
    const held = find()
    if (held === undefined) return answer(exchange, 503)
    held.transferred = { blob, bytes }
    answer(exchange, 204)
  }

  async #takeFile(exchange: Exchange, record: RequestRecord, name: string): Promise<void> {
    const { store, limits } = this.#parts
    if (!fileName.test(name)) return answer(exchange, 400)
    const known = await store.file(name)
    if (known !== null) return answer(exchange, repeatStatus(known, record))
    const blob = await this.#write(exchange, limits.fileBytesMax)
    const { settings } = await store.storage(record.account)
    const lifecycle = settleLifecycle(record.lifecycle, settings, this.#parts.fileMs)
    const createdAt = this.#parts.now()
    try {
      await store.addFile({
        name,
        account: record.account,
        blobs: [blob],
        bytes: blob.bytes,
        contentType: storedType(exchange.url.searchParams.get("type") ?? ""),
        request: record.id,
        createdAt,
        expiresAt: expiryOf(lifecycle, createdAt),
        acl: lifecycle.acl,
      })
    } catch (error) {
      // Two tries may run side by side when the runner has given up one of them.
      const added = await store.file(name)
      if (added === null) throw error
      return answer(exchange, repeatStatus(added, record))
    }
    answer(exchange, 204)
  }

  /** Errors: `BlobError`. The connection stays, for the answer to a body that is refused. */
  async #write({ request }: Exchange, bytesMax: number): Promise<BlobRef> {
    if (Number(request.headers["content-length"] ?? 0) > bytesMax) {
      throw new BlobError("too_large", `More than ${bytesMax} bytes`)
    }
    const chunks: AsyncIterable<Uint8Array> = request.iterator({ destroyOnReturn: false })
    const { name, bytes } = await this.#parts.blobs.write(chunks, { bytesMax })
    return { name, bytes }
  }

  async #sendFile(exchange: Exchange, record: RequestRecord, name: string): Promise<void> {
    const file = await this.#parts.store.file(name)
    const isKnown = file !== null && !isExpired(file, this.#parts.now())
    // An app reads for the account whose request it works on.
    if (!isKnown || accessTo(file, record.account) !== "allow") return answer(exchange, 404)
    await this.#sendBlobs(exchange, file.blobs, { "content-type": file.contentType })
  }

  async #sendBlobs(
    exchange: Exchange,
    blobs: readonly BlobRef[],
    headers: Record<string, string>,
  ): Promise<void> {
    const stream = await readAcross(this.#parts.blobs, blobs)
    if (stream === null) return answer(exchange, 404)
    exchange.response.writeHead(200, headers)
    await pipeline(stream, exchange.response)
  }
}

/** The answer of an earlier try was lost; a name of another request is a collision or worse. */
function repeatStatus(file: FileRow, record: RequestRecord): number {
  return file.request === record.id ? 204 : 409
}

/** A connection on which nothing moves for so long within a transfer is ended; the runner tries again. */
const idleMs = 60_000

/** How long the rest of a body may come that nobody wants. */
const lingerMs = 5_000

/**
 * Answers. A body that was not read is let pass first: closed in its face, the peer would see a broken connection
 * instead of the answer, and try again for ever.
 */
function answer(
  { request, response }: Pick<Exchange, "request" | "response">,
  status: number,
): void {
  const isRead = request.complete || request.destroyed
  response.writeHead(status, isRead ? {} : { connection: "close" })
  if (isRead) {
    response.end()
    return
  }
  const cut = setTimeout(() => request.destroy(), lingerMs)
  cut.unref()
  request.once("close", () => clearTimeout(cut))
  request.once("end", () => response.end())
  // What is written now reaches the peer while it still sends.
  response.flushHeaders()
  request.resume()
}

function statusOf(error: unknown): number {
  if (error instanceof BlobError) return error.code === "full" ? 503 : 413
  if (error instanceof StoreError) return 503
  return error instanceof URIError ? 400 : 500
}
