import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { buffer } from "node:stream/consumers"

/**
 * How a receiver treats what it is told.
 *
 * - `prompt`: 200 at once · `truncating`: 200, and the connection closed in the middle of the answer
 * - `late`: 200, later than a first try may take
 * - `failing`, `resetting`, `cutting`: 500, a reset, a close in the middle of the webhook, twice; then 200
 * - `broken`: 500 for ever
 * - `hanging`: reads the webhook and says nothing, until it is released; then 200
 * - `redirecting`: 302 to where nobody may come
 * - `forbidden`: listens at an address that may not be called
 */
export type Manner = (typeof manners)[number]

export const manners = [
  "prompt",
  "truncating",
  "late",
  "failing",
  "resetting",
  "cutting",
  "broken",
  "hanging",
  "redirecting",
  "forbidden",
] as const

/** What a receiver did with a webhook. */
export type Reply = number | "late" | "reset" | "cut" | "hang"

export interface Arrival {
  requestId: string
  manner: Manner
  /** Epoch milliseconds, before any of the body was read. */
  at: number
  headers: IncomingMessage["headers"]
  /** Null when it did not come to its end: the sender died, or we cut it. */
  body: Buffer | null
  reply: Reply
  /** Of the body that it answered. */
  text: string
}

export interface ReceiverTimes {
  lateMs: number
}

/** Calls that fail before one succeeds. */
const failures = 2
/** Longer than what is kept of it; one byte a character. */
const answerLength = 3_000
/** What a truncating receiver answers before it closes. */
export const truncatedLength = 10
/** Every so many arrivals a receiver asks the server what it says of the request. */
const askEvery = 7

/**
 * The receivers of a storm, on loopback, several origins of each manner. A webhook's path is `/{manner}/{number}/{endpoint}`;
 * nothing but `trapped` may ever hear of a path that starts otherwise.
 */
export class Receivers {
  readonly arrivals: Arrival[] = []
  /** Calls to where a redirect points, or to an address that is not allowed. */
  readonly trapped: string[] = []
  /** What the server said of requests whose webhooks had just come in. */
  readonly askedStatuses: string[] = []
  readonly #servers: Server[] = []
  readonly #origins = new Map<Manner, string[]>()
  readonly #counts = new Map<string, number>()
  readonly #lateMs: number
  #isReleased = false
  #url: string | null = null
  #calls = 0

  private constructor({ lateMs }: ReceiverTimes) {
    this.#lateMs = lateMs
  }

  static async open(originsOfEach: number, times: ReceiverTimes): Promise<Receivers> {
    const receivers = new Receivers(times)
    for (const manner of manners) {
      const origins = Array.from({ length: originsOfEach }, () => receivers.#listen())
      receivers.#origins.set(manner, await Promise.all(origins))
    }
    return receivers
  }

  /** The webhook of the n-th request, told in this manner. */
  urlOf(manner: Manner, index: number, endpoint: string): string {
    const origins = this.#origins.get(manner)!
    const origin = origins[index % origins.length]!
    // The unspecified address is refused to everyone; a system that connects to it comes out on loopback, at our port.
    const host = manner === "forbidden" ? origin.replace("127.0.0.1", "0.0.0.0") : origin
    return `${host}/${manner}/${index}/${endpoint}`
  }

  /** The server that may be asked; null: it is about to die. */
  aim(url: string | null): void {
    this.#url = url
  }

  /** Those that hang answer what comes from now on. */
  release(): void {
    this.#isReleased = true
  }

  async close(): Promise<void> {
    const closing = this.#servers.map((server) => {
      const closed = once(server, "close")
      server.close()
      server.closeAllConnections()
      return closed
    })
    await Promise.all(closing)
  }

  async #listen(): Promise<string> {
    const server = createServer((request, response) => void this.#receive(request, response))
    this.#servers.push(server)
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = Date.now()
    // A sender that was killed is no error of ours.
    request.on("error", () => {})
    const { headers, url = "" } = request
    const [, word, index, ...endpoint] = url.split("/")
    const manner = manners.find((one) => one === word)
    if (manner === undefined || manner === "forbidden") this.trapped.push(url)
    if (manner === undefined) {
      response.end()
      return
    }
    const requestId = String(headers["x-fal-webhook-request-id"])
    const count = (this.#counts.get(requestId) ?? 0) + 1
    this.#counts.set(requestId, count)
    const reply = this.#replyOf(manner, count)
    const text = `${manner} ${index} ${count} `.padEnd(answerLength, ".")
    const arrival: Arrival = { requestId, manner, at, headers, body: null, reply, text }
    this.arrivals.push(arrival)
    if (reply === "cut") {
      request.once("data", () => request.socket.destroy())
      return
    }
    arrival.body = await buffer(request).catch(() => null)
    if (arrival.body === null) return
    this.#calls += 1
    if (this.#calls % askEvery === 0) await this.#ask(requestId, endpoint.join("/"))
    this.#answer(arrival, response)
  }

  #replyOf(manner: Manner, count: number): Reply {
    if (manner === "hanging") return this.#isReleased ? 200 : "hang"
    if (manner === "late") return "late"
    if (manner === "redirecting") return 302
    if (manner === "broken") return 500
    if (count > failures) return 200
    if (manner === "failing") return 500
    if (manner === "resetting") return "reset"
    return manner === "cutting" ? "cut" : 200
  }

  #answer({ manner, reply, text }: Arrival, response: ServerResponse): void {
    if (reply === "hang") return
    if (reply === "reset") {
      response.socket?.resetAndDestroy()
      return
    }
    if (reply === "late") {
      setTimeout(() => response.end(text), this.#lateMs)
      return
    }
    const location = { location: `http://${response.req.headers.host}/trap/redirected` }
    response.writeHead(Number(reply), reply === 302 ? location : {})
    if (manner !== "truncating") response.end(text)
    else response.write(text.slice(0, truncatedLength), () => response.socket?.destroy())
  }

  /** A server that dies over the question has not answered it. */
  async #ask(requestId: string, endpoint: string): Promise<void> {
    if (this.#url === null) return
    const url = `${this.#url}/queue/${endpoint}/requests/${requestId}/status`
    const answer = await fetch(url).catch(() => null)
    const text = await answer?.text().catch(() => null)
    if (typeof text !== "string") return
    this.askedStatuses.push((JSON.parse(text) as { status: string }).status)
  }
}
