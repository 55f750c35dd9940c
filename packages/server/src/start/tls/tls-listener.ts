import type { Server } from "node:http"
import type { Socket } from "node:net"
import { createServer, type Server as TlsServer } from "node:tls"
import type { Config } from "../../config.ts"
import type { DataFolder } from "../data-folder.ts"
import { addressOf, bind, PortTaken } from "../listen.ts"
import { type Certificates, isCurrent, openCertificates } from "./certificates.ts"
import { certificateNames } from "./names.ts"

/** A connection that has not shaken hands for so long is ended, as one that sends no headers is. */
const handshakeTimeoutMs = 30_000
const renewalCheckMs = 86_400_000

export interface TlsListenerParts {
  config: Config
  folder: DataFolder
  now: () => number
  log: (entry: object) => void
}

/**
 * Ends TLS for programs that were written for the hosted service, and hands each connection to the gateway, which answers
 * those of both ports. It has the certificates from its start on, listens from `listen` to `close`, and renews them meanwhile.
 */
export class TlsListener {
  readonly #parts: TlsListenerParts
  readonly #names: string[]
  readonly #server: TlsServer
  readonly #sockets = new Set<Socket>()
  #certificates: Certificates
  #port = 0
  #renewal: NodeJS.Timeout | null = null

  private constructor(parts: TlsListenerParts, names: string[], certificates: Certificates) {
    this.#parts = parts
    this.#names = names
    this.#certificates = certificates
    this.#server = createServer({
      cert: certificates.leaf,
      key: certificates.key,
      ALPNProtocols: ["http/1.1"],
      handshakeTimeout: handshakeTimeoutMs,
      noDelay: true,
    })
    this.#server.maxConnections = parts.config.limits.connectionsMax
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once("close", () => this.#sockets.delete(socket))
    })
  }

  /** Null when the setting says `off`. */
  static async open(parts: TlsListenerParts): Promise<TlsListener | null> {
    if (parts.config.tlsPort === "off") return null
    const names = certificateNames(parts.config)
    const certificates = await openCertificates(parts.folder.path, names, parts.now())
    return new TlsListener(parts, names, certificates)
  }

  /** What has to be trusted, PEM. */
  get ca(): string {
    return this.#certificates.ca
  }

  get port(): number {
    return this.#port
  }

  /** Without a slash at the end. */
  get url(): string {
    return addressOf("https", this.#parts.config.host, this.#port)
  }

  /**
   * Takes its connections to the gateway. False when nobody chose the port and another program has it: a server that ran
   * yesterday does not stay down for a door that may not be needed.
   */
  async listen(gateway: Server): Promise<boolean> {
    const { config, log } = this.#parts
    this.#server.on("secureConnection", (socket) => gateway.emit("connection", socket))
    try {
      this.#port = await bind(this.#server, config.host, portOf(config), "--tls-port")
    } catch (error) {
      if (config.tlsPort !== null || !(error instanceof PortTaken)) throw error
      log({ event: "tls_off", reason: error.message })
      return false
    }
    this.#renewal = setInterval(() => void this.#renew(), renewalCheckMs).unref()
    return true
  }

  /** Resolves when the last connection has ended; the gateway ends those that it was handed. */
  async close(): Promise<void> {
    clearInterval(this.#renewal ?? undefined)
    if (!this.#server.listening) return
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  /** Also those that have not shaken hands yet, of which the gateway does not know. */
  closeAllConnections(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Connections that are open keep what they have; programs that trusted the old authority have to be started again. */
  async #renew(): Promise<void> {
    const { folder, now, log } = this.#parts
    if (isCurrent(this.#certificates, this.#names, now())) return
    try {
      const made = await openCertificates(folder.path, this.#names, now())
      this.#server.setSecureContext({ cert: made.leaf, key: made.key })
      this.#certificates = made
      log({ event: "certificates_renewed" })
    } catch (error) {
      log({ event: "error", error })
    }
  }
}

/** Beside the server's own port, so that who knows one knows the other. */
function portOf({ port, tlsPort }: Config): number {
  if (typeof tlsPort === "number") return tlsPort
  return port === 0 || port === 65_535 ? 0 : port + 1
}
