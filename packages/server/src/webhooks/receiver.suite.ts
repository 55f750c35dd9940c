import { EventEmitter, once } from "node:events"
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { buffer } from "node:stream/consumers"

/** A webhook as it came in. */
export interface Received {
  headers: IncomingMessage["headers"]
  url: string
  body: Buffer
  /** Of the sender: a connection has one. */
  port: number
  /** Monotonic, in milliseconds. */
  at: number
}

/** A receiver on a real socket. It reads each webhook, then answers as it is told: 200 unless something else is. */
export class Receiver {
  readonly received: Received[] = []
  readonly url: string
  /** Answers the next ones; each is used once, the last one for ever. */
  readonly #answers: Answer[]
  readonly #server: Server
  readonly #events = new EventEmitter()
  #sockets = 0

  constructor(server: Server, answers: Answer[]) {
    this.#server = server
    this.#answers = answers
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    server.on("connection", (socket) => {
      this.#sockets += 1
      socket.once("close", () => {
        this.#sockets -= 1
        this.#events.emit("closed")
      })
    })
    server.on("request", (request, response) => {
      void this.#receive(request, response)
    })
  }

  async #receive(...[request, response]: Parameters<RequestListener>): Promise<void> {
    const answer = (this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0]) ?? ok
    if (answer === "cut") {
      request.once("data", () => request.socket.destroy())
      return
    }
    const port = request.socket.remotePort ?? 0
    const body = await buffer(request)
    const { headers, url = "" } = request
    this.received.push({ headers, url, body, port, at: performance.now() })
    this.#events.emit("received")
    await answer(response, request.socket)
  }

  /** Resolves when so many have come in all. */
  async count(total: number): Promise<Received[]> {
    while (this.received.length < total) await once(this.#events, "received")
    return this.received
  }

  /** Resolves when it has no connection. */
  async untilClosed(): Promise<void> {
    while (this.#sockets > 0) await once(this.#events, "closed")
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((closed) => this.#server.close(closed))
  }
}

type Answer =
  | ((response: Parameters<RequestListener>[1], socket: Socket) => unknown)
  /** Closes while the webhook is still coming in. */
  | "cut"

export function status(code: number, headers: Record<string, string> = {}, body = ""): Answer {
  return (response) => response.writeHead(code, headers).end(body)
}

const ok = status(200)

/** Never answers. */
export const hang: Answer = () => {}

export const reset: Answer = (_, socket) => socket.resetAndDestroy()

export function late(ms: number): Answer {
  return (response) => setTimeout(() => response.end(), ms)
}

export async function openReceiver(...answers: Answer[]): Promise<Receiver> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  return new Receiver(server, answers)
}
