import { connect, type Socket } from "node:net"

export interface Response {
  status: number
  /** One character a byte; the bench sends ASCII only. */
  body: string
}

/**
 * One kept connection to a server on loopback, one exchange at a time. It knows just as much of HTTP as the answers that are
 * measured need (a status, Content-Length), so that the load costs little beside what it loads.
 */
export class Connection {
  readonly #socket: Socket
  #received = ""
  #answer: PromiseWithResolvers<Response> | null = null

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.setEncoding("latin1")
    socket.on("data", (text: string) => this.#receive(text))
    socket.on("error", (error) => this.#fail(error))
    socket.on("close", () => this.#fail(new Error("the server closed the connection")))
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port })
      socket.once("error", reject)
      socket.once("connect", () => {
        socket.off("error", reject)
        resolve(new Connection(socket))
      })
    })
  }

  /** Sends a whole request as it stands and resolves to its answer. */
  exchange(request: string): Promise<Response> {
    if (this.#answer !== null) throw new Error("an exchange is under way on this connection")
    this.#answer = Promise.withResolvers<Response>()
    this.#socket.write(request, "latin1")
    return this.#answer.promise
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(text: string): void {
    this.#received = this.#received === "" ? text : this.#received + text
    const parsed = parseResponse(this.#received)
    if (parsed === null) return
    const answer = this.#answer
    this.#answer = null
    this.#received = ""
    if (answer === null || parsed.excess > 0) {
      this.#socket.destroy(new Error("the server said more than it was asked"))
    } else answer.resolve(parsed.response)
  }

  #fail(error: Error): void {
    this.#answer?.reject(error)
    this.#answer = null
  }
}

const contentLength = /\r\ncontent-length: *(\d+)\r\n/i

/** The first answer in the text, and how much follows it; null while it is not whole. */
export function parseResponse(text: string): { response: Response; excess: number } | null {
  const headEnd = text.indexOf("\r\n\r\n")
  if (headEnd === -1) return null
  const length = contentLength.exec(text.slice(0, headEnd + 2))?.[1]
  if (length === undefined) throw new Error(`an answer without a length: ${text.slice(0, 200)}`)
  const bodyEnd = headEnd + 4 + Number(length)
  if (text.length < bodyEnd) return null
  const status = Number(text.slice(9, 12))
  const response = { status, body: text.slice(headEnd + 4, bodyEnd) }
  return { response, excess: text.length - bodyEnd }
}
