import { once } from "node:events"
import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type Server,
  type ServerResponse,
} from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import { pipeline } from "node:stream/promises"
import { reasonOf } from "../terminal.ts"
import { findConnectionOwner } from "./connection-owner.ts"
import { describeRefusal, findWay, type HostRules } from "./host-rules.ts"
import type { Refusals } from "./refusals.ts"
import { joinSockets } from "./join-sockets.ts"

export interface GuardProxyParts {
  rules: HostRules
  /** Where a server of ours ends TLS. */
  tlsDoor: { host: string; port: number }
  /** `user:password` that the program was given. */
  credentials: string
  refusals: Refusals
}

/** A connection that came in another way than through our own port, and where its other end can be found. */
export interface RelayedFrom {
  from: number
  to: number
  seenBy: number
}

const connectionsMax = 2_000
/** Of a name in DNS. */
const hostLengthMax = 253
/** RFC 9110, 7.6.1, and what is between the program and its proxy alone. */
const hopHeaders = [
  "connection",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "upgrade",
]

/**
 * The proxy that a program is given for its life. Calls of the hosted service's hosts become plain tunnels to the port where the
 * server ends TLS, so that nothing is read here; other hosts are reached directly when they are allowed, else refused.
 */
export class GuardProxy {
  readonly #parts: GuardProxyParts
  readonly #server: Server
  readonly #sockets = new Set<Duplex>()
  readonly #relayed = new WeakMap<Duplex, RelayedFrom>()

  constructor(parts: GuardProxyParts) {
    this.#parts = parts
    this.#server = createServer((request, response) => void this.#forward(request, response))
    this.#server.maxConnections = connectionsMax
    this.#server.on("connection", (socket: Socket) => this.#hold(socket))
    this.#server.on("connect", (request: IncomingMessage, socket, head) => {
      void this.#tunnel(request, socket, head)
    })
  }

  /** Listens on loopback and resolves to the port. */
  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1")
    await once(this.#server, "listening")
    return (this.#server.address() as AddressInfo).port
  }

  /** Serves a connection that somebody else has accepted. */
  accept(socket: Socket, relayed: RelayedFrom): void {
    this.#relayed.set(socket, relayed)
    this.#server.emit("connection", socket)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (!this.#server.listening) return
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #hold(socket: Duplex): void {
    this.#sockets.add(socket)
    // Whoever is gone already is no error of ours.
    socket.on("error", () => socket.destroy())
    socket.once("close", () => this.#sockets.delete(socket))
  }

  async #tunnel(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const target = parseTarget(request.url ?? "")
    const refusal = await this.#refuse(request, target)
    if (refusal !== null || target === null) {
      endWith(socket, refusal ?? badTarget)
      return
    }
    const isForeign = findWay(target.host, this.#parts.rules) === "tintype"
    const outgoing = connect({ ...(isForeign ? this.#parts.tlsDoor : target), allowHalfOpen: true })
    this.#hold(outgoing)
    try {
      await once(outgoing, "connect")
    } catch (error) {
      endWith(socket, unreachable(target.host, error))
      return
    }
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
    outgoing.write(head)
    // Its caller may be gone by now, and nobody would end it.
    if (socket.destroyed) outgoing.destroy()
    else joinSockets(socket, outgoing)
  }

  /** A call of plain HTTP, which names its whole URL. */
  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = URL.parse(request.url ?? "")
    const target =
      url?.protocol === "http:" ? { host: url.hostname, port: Number(url.port || 80) } : null
    const refusal = await this.#refuse(request, target, "plain")
    if (refusal !== null || target === null || url === null) {
      answerWith(response, refusal ?? badTarget)
      return
    }
    const passed = Object.entries(request.headers).filter(([name]) => !hopHeaders.includes(name))
    // RFC 9112, 3.2.2: whatever Host says, the URL names the host.
    const headers = { ...Object.fromEntries(passed), host: url.host }
    const { method = "GET" } = request
    const path = `${url.pathname}${url.search}`
    const host = target.host.replace(/^\[|\]$/g, "")
    const outgoing = httpRequest({ host, port: target.port, method, path, headers, agent: false })
    const fail = (error: unknown): void => {
      if (response.headersSent) response.destroy()
      else answerWith(response, unreachable(target.host, error))
    }
    outgoing.on("response", (incoming) => {
      try {
        response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage, incoming.rawHeaders)
      } catch (error) {
        // Node reads a status such as 000, and does not write it.
        incoming.destroy()
        fail(error)
        return
      }
      pipeline(incoming, response).catch(() => response.destroy())
    })
    outgoing.on("upgrade", (_, socket) => {
      socket.destroy()
      fail("it wants to speak another protocol")
    })
    outgoing.on("error", fail)
    response.once("close", () => outgoing.destroy())
    request.pipe(outgoing)
  }

  /** Why the call goes nowhere; null when it goes on. */
  async #refuse(
    request: IncomingMessage,
    target: Target | null,
    kind: "tunnel" | "plain" = "tunnel",
  ): Promise<Refused | null> {
    const { credentials, rules, refusals } = this.#parts
    const given = request.headers["proxy-authorization"]
    if (given !== `Basic ${Buffer.from(credentials).toString("base64")}`) return unauthorized
    if (target === null || target.host.length > hostLengthMax) return badTarget
    const { host, port } = target
    const way = findWay(host, rules)
    if (way === "direct") return null
    // The hosted service speaks TLS alone, so no certificate would prove who answers.
    if (way === "tintype" && kind === "tunnel" && port === 443) return null
    const isServed = way === "tintype"
    const why = isServed ? `${host} is served on https, port 443, alone` : describeRefusal(host)
    const owner = refusals.isFull ? null : await this.#findOwner(request.socket)
    refusals.add({ host, port, why }, owner)
    return { line: "403 Forbidden", text: `Refused by tintype exec. ${why}` }
  }

  async #findOwner(socket: Socket): ReturnType<typeof findConnectionOwner> {
    const { remotePort = 0, localPort = 0 } = socket
    return await findConnectionOwner(
      this.#relayed.get(socket) ?? { from: remotePort, to: localPort, seenBy: "self" },
    )
  }
}

interface Target {
  host: string
  port: number
}

interface Refused {
  line: string
  text: string
  headers?: Record<string, string>
}

const badTarget: Refused = {
  line: "400 Bad Request",
  text: "This is a proxy of tintype exec: CONNECT host:port, or a whole http:// URL",
}
const unauthorized: Refused = {
  line: "407 Proxy Authentication Required",
  text: "The proxy of tintype exec is for the program that it started",
  headers: { "proxy-authenticate": 'Basic realm="tintype exec"' },
}

function unreachable(host: string, error: unknown): Refused {
  return { line: "502 Bad Gateway", text: `${host} cannot be reached: ${reasonOf(error)}` }
}

/** `host:port`, IPv6 in brackets. */
function parseTarget(text: string): Target | null {
  const [, host = "", port] = /^(\[[0-9a-f:.]+\]|[^:/?#@\s]+):(\d{1,5})$/i.exec(text) ?? []
  if (port === undefined || Number(port) > 65_535) return null
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) }
}

function endWith(socket: Duplex, { line, text, headers = {} }: Refused): void {
  const body = `${text}\n`
  const head = [
    `HTTP/1.1 ${line}`,
    "content-type: text/plain",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ]
  socket.once("finish", () => socket.destroy())
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`)
}

function answerWith(response: ServerResponse, { line, text, headers = {} }: Refused): void {
  response.writeHead(Number(line.slice(0, 3)), {
    "content-type": "text/plain",
    connection: "close",
    ...headers,
  })
  response.end(`${text}\n`)
}
