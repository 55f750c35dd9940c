import { timingSafeEqual } from "node:crypto"
import { once } from "node:events"
import { chmod } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { linkMessageBytesMax } from "@tintype/protocol"
import { WebSocketServer } from "ws"
import type { Limits } from "../../config.ts"
import { type LinkHolder, LinkSocket, type LinkSocketParts } from "./link-socket.ts"
import type { Transfers } from "./transfers.ts"

export interface LinkServerParts extends Omit<LinkSocketParts, "pendingBytesMax"> {
  transfers: Transfers
  /** The local runner's secret. */
  secret: string
  limits: Pick<Limits, "linkPendingBytesMax" | "linksMax" | "linksPerKeyMax">
}

/** A connection that asks to become a link. */
export interface Dial {
  request: IncomingMessage
  socket: Duplex
  head: Buffer
}

const localRunner: LinkHolder = { key: null, apps: null }

/**
 * Where runners come in, to `/_/link` and `/_/transfer/…`: the local one on the data folder's Unix socket, where its secret
 * is asked for here; those of other machines by the gateway, which has found out whose key they hold. Owns the sockets.
 */
export class LinkServer {
  readonly #parts: LinkServerParts
  readonly #http: Server
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: linkMessageBytesMax,
    perMessageDeflate: false,
  })
  /** The links of other machines' runners, by key. */
  readonly #byKey = new Map<string, Set<LinkSocket>>()

  constructor(parts: LinkServerParts) {
    this.#parts = parts
    this.#http = createServer((request, response) => {
      if (this.#isKnown(request)) this.transfer(request, response, null)
      else response.writeHead(401).end()
    })
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade({ request, socket, head }))
  }

  async listen(socketPath: string): Promise<void> {
    this.#http.listen(socketPath)
    // Rejects when there is an error first.
    await once(this.#http, "listening")
    await chmod(socketPath, 0o600)
    this.#http.on("error", (error) => this.#parts.log({ event: "link_server_failed", error }))
  }

  /**
   * Makes the connection of a key's holder a link, and answers the function that ends it because the key is revoked.
   * Null, and nothing is done: there are as many links as there may be.
   */
  link(dial: Dial, holder: LinkHolder & { key: string }): (() => void) | null {
    const { linksMax, linksPerKeyMax } = this.#parts.limits
    const own = this.#byKey.get(holder.key) ?? new Set()
    const all = [...this.#byKey.values()].reduce((sum, { size }) => sum + size, 0)
    if (own.size >= linksPerKeyMax || all >= linksMax) return null
    let link: LinkSocket | null = null
    this.#open(dial, holder, (opened) => {
      link = opened
      this.#byKey.set(holder.key, own.add(opened))
    })
    dial.socket.once("close", () => {
      if (link === null || !own.delete(link)) return
      if (own.size === 0 && this.#byKey.get(holder.key) === own) this.#byKey.delete(holder.key)
    })
    return () => link?.revoke()
  }

  /** A body to or from the runner that holds the lease and this key; null: the local runner. */
  transfer(request: IncomingMessage, response: ServerResponse, key: string | null): void {
    this.#parts.transfers.handle(request, response, key)
  }

  /** The server stops: runners of other machines are let go, to dial again. */
  dismiss(): void {
    for (const links of this.#byKey.values()) {
      for (const link of links) link.close(1001, "going away")
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    this.#http.closeAllConnections()
    await new Promise<void>((resolve) => this.#http.close(() => resolve()))
  }

  #upgrade(dial: Dial): void {
    const { request, socket } = dial
    if (request.url !== "/_/link" || !this.#isKnown(request)) {
      // A peer that is gone already is no error of ours; one that stays must not hold up our end.
      socket.on("error", () => {})
      socket.once("finish", () => socket.destroy())
      socket.end("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n")
      return
    }
    this.#open(dial, localRunner, () => {})
  }

  #open(dial: Dial, holder: LinkHolder, opened: (link: LinkSocket) => void): void {
    const { limits, ...parts } = this.#parts
    const pendingBytesMax = limits.linkPendingBytesMax
    this.#sockets.handleUpgrade(dial.request, dial.socket, dial.head, (webSocket) => {
      opened(new LinkSocket(webSocket, holder, { ...parts, pendingBytesMax }))
    })
  }

  #isKnown(request: IncomingMessage): boolean {
    const given = Buffer.from(request.headers.authorization ?? "")
    const expected = Buffer.from(`Bearer ${this.#parts.secret}`)
    return given.length === expected.length && timingSafeEqual(given, expected)
  }
}
