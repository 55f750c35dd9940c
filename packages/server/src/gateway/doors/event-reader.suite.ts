import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http"

export interface EventCall {
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** Reads a stream of server-sent events as it comes. */
export class EventReader {
  readonly outgoing: ClientRequest
  readonly incoming: IncomingMessage
  readonly #chunks: AsyncIterator<Buffer>
  #text = ""
  raw = ""

  constructor(outgoing: ClientRequest, incoming: IncomingMessage) {
    this.outgoing = outgoing
    this.incoming = incoming
    this.#chunks = incoming[Symbol.asyncIterator]()
  }

  /** Resolves when the head of the answer has come. */
  static async open(url: string, call: EventCall = {}): Promise<EventReader> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const { method = "GET", headers = {}, body } = call
    const outgoing = httpRequest(url, { agent: false, method, headers }, resolve)
    outgoing.on("error", reject)
    outgoing.end(body)
    return new EventReader(outgoing, await promise)
  }

  /** The next block up to an empty line; null at the end. */
  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#text.indexOf("\n\n")
      if (end !== -1) {
        const block = this.#text.slice(0, end)
        this.#text = this.#text.slice(end + 2)
        return block
      }
      const chunk = await this.#chunks.next()
      if (chunk.done === true) return null
      this.raw += chunk.value.toString("latin1")
      this.#text += chunk.value.toString("latin1")
    }
  }

  /** The text of the next event's data; null at the end. */
  async nextData(): Promise<string | null> {
    let block = await this.next()
    while (block === ": ping") block = await this.next()
    if (block !== null && !block.startsWith("data: ")) throw new Error(`not an event: ${block}`)
    return block?.slice("data: ".length) ?? null
  }

  /** Of all that is left. */
  async rest(): Promise<string[]> {
    const found: string[] = []
    for (let data = await this.nextData(); data !== null; data = await this.nextData()) {
      found.push(data)
    }
    return found
  }
}
