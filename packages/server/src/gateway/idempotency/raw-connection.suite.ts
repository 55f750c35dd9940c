import { once } from "node:events"
import { connect, type Socket } from "node:net"

export interface RawAnswer {
  status: number
  /** Names in lower case. */
  headers: Record<string, string>
  json: Record<string, unknown>
}

/** One TCP connection that speaks HTTP/1.1 by hand: what it carries and when it ends is the test's to say. */
export class RawConnection {
  readonly #socket: Socket
  #received = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on("data", (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes])
    })
    // A reset is one way to end it.
    socket.on("error", () => {})
  }

  static async open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    await once(socket, "connect")
    return new RawConnection(socket)
  }

  send(method: string, path: string, headers: Record<string, string>, body = ""): void {
    const all = {
      host: "localhost",
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(body)),
      ...headers,
    }
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    this.#socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`)
  }

  /** The next answer; rejects when the connection ends before it is whole. */
  async answer(): Promise<RawAnswer> {
    for (;;) {
      const whole = this.#takeAnswer()
      if (whole !== null) return whole
      const ended = once(this.#socket, "close").then(() => true)
      const more = once(this.#socket, "data").then(() => false)
      more.catch(() => {})
      if (await Promise.race([ended, more])) throw new Error("The connection ended")
    }
  }

  async call(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body = "",
  ): Promise<RawAnswer> {
    this.send(method, path, headers, body)
    return await this.answer()
  }

  /** Ends it at once, from this side. */
  async cut(): Promise<void> {
    if (this.#socket.closed) return
    const closed = once(this.#socket, "close")
    this.#socket.destroy()
    await closed
  }

  /** Resolves when the other side has ended it. */
  async ended(): Promise<void> {
    if (!this.#socket.closed) await once(this.#socket, "close")
  }

  #takeAnswer(): RawAnswer | null {
    const end = this.#received.indexOf("\r\n\r\n")
    if (end === -1) return null
    const [line = "", ...rest] = this.#received.subarray(0, end).toString().split("\r\n")
    const headers = Object.fromEntries(
      rest.map((one) => [
        one.slice(0, one.indexOf(":")).toLowerCase(),
        one.slice(one.indexOf(":") + 1).trim(),
      ]),
    )
    const length = Number(headers["content-length"] ?? 0)
    if (this.#received.length < end + 4 + length) return null
    const body = this.#received.subarray(end + 4, end + 4 + length).toString()
    this.#received = this.#received.subarray(end + 4 + length)
    const json = body === "" ? {} : (JSON.parse(body) as Record<string, unknown>)
    return { status: Number(line.split(" ")[1]), headers, json }
  }
}
