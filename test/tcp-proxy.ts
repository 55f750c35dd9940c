import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"

/**
 * Passes bytes on between a client and a server on loopback, until it is told to swallow an answer: then it cuts the connection,
 * on both sides, when the first byte of one arrives, and nothing of it reaches the client.
 */
export class TcpProxy {
  readonly url: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #target: URL
  #toSwallow = 0
  #swallowed = 0
  #onSwallow: (() => void) | null = null

  private constructor(server: Server, target: string) {
    const { port } = server.address() as AddressInfo
    this.url = `http://127.0.0.1:${port}`
    this.#server = server
    this.#target = new URL(target)
    server.on("connection", (client: Socket) => this.#carry(client))
  }

  static async open(target: string): Promise<TcpProxy> {
    const server = createServer()
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return new TcpProxy(server, target)
  }

  /** Another server from the next connection on. */
  aim(target: string): void {
    this.#target = new URL(target)
  }

  /** `onSwallow` is called before the connection is cut. */
  swallow(count: number, onSwallow: (() => void) | null = null): void {
    this.#swallowed = 0
    this.#toSwallow = count
    this.#onSwallow = onSwallow
  }

  /** Answers that were swallowed since it was last told to. */
  get swallowed(): number {
    return this.#swallowed
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close")
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #carry(client: Socket): void {
    const server = connect(Number(this.#target.port), this.#target.hostname)
    const cut = () => {
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.once("close", () => {
        this.#sockets.delete(socket)
        cut()
      })
      // A reset is one way to end it.
      socket.on("error", cut)
    }
    client.on("data", (bytes) => server.write(bytes))
    server.on("data", (bytes) => {
      if (this.#toSwallow > 0) {
        this.#toSwallow -= 1
        this.#swallowed += 1
        this.#onSwallow?.()
        cut()
      } else client.write(bytes)
    })
  }
}
