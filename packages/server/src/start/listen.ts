import { once } from "node:events"
import type { Server } from "node:http"
import { isIPv6, type Server as NetServer } from "node:net"
import type { Config } from "../config.ts"
import { StartError } from "../start-error.ts"

/** Refuses to serve strangers without a key: open mode is for loopback alone. `anyKey`: the store has one. */
export function checkExposure(config: Config, anyKey: boolean): void {
  if (anyKey || config.key !== null || isLoopbackHost(config.host)) return
  throw new StartError(
    "public_without_key",
    `Refusing to listen on ${config.host} without a key: make one with tintype keys create, set TINTYPE_KEY=id:secret, or bind to 127.0.0.1`,
  )
}

export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host)
}

export class PortTaken extends StartError {
  constructor(message: string, options: ErrorOptions) {
    super("port_taken", message, options)
    this.name = "PortTaken"
  }
}

/** Has the server listen and answers its port; `flag` is what a person can choose another one by. */
export async function bind(
  server: NetServer,
  host: string,
  port: number,
  flag: string,
): Promise<number> {
  try {
    server.listen({ host, port })
    // Rejects with the first error instead.
    await once(server, "listening")
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === "EADDRINUSE") {
      const message = `Port ${port} on ${host} is taken: stop what uses it, or choose another with ${flag}`
      throw new PortTaken(message, { cause })
    }
    if (code === "EACCES" || code === "EADDRNOTAVAIL") {
      throw new StartError("settings", `Cannot listen on ${host}:${port} (${code})`, { cause })
    }
    throw cause
  }
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : port
}

/** Binds the gateway and returns its base address. */
export async function listen(gateway: Server, config: Config): Promise<string> {
  const port = await bind(gateway, config.host, config.port, "--port")
  return addressOf("http", config.host, port)
}

/** Without a slash at the end. */
export function addressOf(scheme: "http" | "https", host: string, port: number): string {
  return `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${port}`
}

/** Stops listening and resolves when the last connection has ended; idle ones are ended at once. */
export async function closeGateway(gateway: Server): Promise<void> {
  if (!gateway.listening) return
  await new Promise<void>((resolve) => gateway.close(() => resolve()))
}
