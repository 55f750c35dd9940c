import type { IncomingMessage, ServerResponse } from "node:http"
import { pipeline } from "node:stream/promises"
import { BlobError, type BlobStore } from "../blob.ts"
import type { Limits } from "../config.ts"
import type { RequestRecord } from "../domain/request.ts"
import { StoreError, type Store } from "../store.ts"
import type { Dispatcher } from "./dispatcher.ts"

export interface TransferParts {
  store: Store
  blobs: BlobStore
  dispatcher: Dispatcher
  limits: Limits
  log(entry: Record<string, unknown>): void
}

type Exchange = { request: IncomingMessage; response: ServerResponse; url: URL }

const route = /^\/_\/transfer\/([0-9a-f]{32})\/(input|output|files\/([^?]+))$/

/** A file's name below `/files/`; 128 random bits of it make it unguessable. */
const fileName = /^b\/[0-9a-f]{8}\/[A-Za-z0-9_-]{22}\.[a-z0-9]{1,8}$/

/**
 * Bodies too large for a frame, and files, between a runner and the blobs. The lease is the capability; it is
 * looked up in the store, as this process may have just started and not know its sessions yet.
 */
export class Transfers {
  readonly #parts: TransferParts

  constructor(parts: TransferParts) {
    this.#parts = parts
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://link")
    this.#route({ request, response, url }).catch((error: unknown) => {
      const status = statusOf(error)
      if (status === 500) this.#parts.log({ event: "transfer_failed", error: String(error) })
      if (response.headersSent) response.destroy()
      else response.writeHead(status, { connection: "close" }).end()
    })
  }

  async #route(exchange: Exchange): Promise<void> {
    const { request, response, url } = exchange
    const match = route.exec(decodeURI(url.pathname))
    if (match === null) return answer(response, 404)
    const [, lease, what, name] = match
    const record = await this.#parts.store.leaseHolder(lease!)
    if (record === null) return answer(response, 401)
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
        return answer(response, 405)
    }
  }

  async #sendInput({ response }: Exchange, record: RequestRecord): Promise<void> {
    const body = await this.#parts.store.body(record.sequence, "input")
    if (body === null) return answer(response, 404)
    if ("inline" in body) {
      response.end(body.inline)
      return
    }
    await this.#sendBlob(response, body.blob, {})
  }

  async #takeOutput({ request, response }: Exchange, lease: string): Promise<void> {
    const held = this.#parts.dispatcher.holderOf(lease)?.attempts.get(lease)
    // Its session has not said hello to this process yet; the runner tries again.
    if (held === undefined) return answer(response, 503)
    const bytesMax = this.#parts.limits.bodyBytesMax
    const { name, bytes } = await this.#parts.blobs.write(request, { bytesMax })
    held.transferred = { blob: name, bytes }
    answer(response, 204)
  }

  async #takeFile(exchange: Exchange, record: RequestRecord, name: string): Promise<void> {
    const { request, response, url } = exchange
    if (!fileName.test(name)) return answer(response, 400)
    const existing = await this.#parts.store.file(name)
    if (existing !== null) {
      // The answer of an earlier try was lost; a name of another request is a collision or worse.
      return answer(response, existing.request === record.id ? 204 : 409)
    }
    const bytesMax = this.#parts.limits.fileBytesMax
    const { name: blob, bytes } = await this.#parts.blobs.write(request, { bytesMax })
    await this.#parts.store.addFile({
      name,
      account: record.account,
      blob,
      bytes,
      contentType: url.searchParams.get("type") ?? "application/octet-stream",
      request: record.id,
      createdAt: Date.now(),
    })
    answer(response, 204)
  }

  async #sendFile({ response }: Exchange, record: RequestRecord, name: string): Promise<void> {
    const file = await this.#parts.store.file(name)
    if (file === null || file.account !== record.account) return answer(response, 404)
    await this.#sendBlob(response, file.blob, { "content-type": file.contentType })
  }

  async #sendBlob(
    response: ServerResponse,
    blob: string,
    headers: Record<string, string>,
  ): Promise<void> {
    const stream = await this.#parts.blobs.read(blob)
    if (stream === null) return answer(response, 404)
    response.writeHead(200, headers)
    await pipeline(stream, response)
  }
}

function answer(response: ServerResponse, status: number): void {
  // A body that was not read would otherwise stand in the way of the next request.
  response.writeHead(status, status >= 400 ? { connection: "close" } : {}).end()
}

function statusOf(error: unknown): number {
  if (error instanceof BlobError) return error.code === "full" ? 503 : 413
  if (error instanceof StoreError) return 503
  return error instanceof URIError ? 400 : 500
}
