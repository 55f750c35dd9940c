import { once } from "node:events"
import type { Server } from "node:http"
import { isIPv6 } from "node:net"
import type { Config } from "./config.ts"
import { StartError } from "./data-folder.ts"

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

/** Binds the gateway and returns its base address. */
export async function listen(gateway: Server, config: Config): Promise<string> {
  const { host, port } = config
  try {
    gateway.listen({ host, port })
    // Rejects with the first error instead.
    await once(gateway, "listening")
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === "EADDRINUSE") {
      const message = `Port ${port} on ${host} is taken: stop what uses it, or choose another with --port`
      throw new StartError("port_taken", message, { cause })
    }
    if (code === "EACCES" || code === "EADDRNOTAVAIL") {
      throw new StartError("settings", `Cannot listen on ${host}:${port} (${code})`, { cause })
    }
    throw cause
  }
  const address = gateway.address()
  const bound = typeof address === "object" && address !== null ? address.port : port
  return `http://${isIPv6(host) ? `[${host}]` : host}:${bound}`
}

/** Stops listening and resolves when the last connection has ended; idle ones are ended at once. */
export async function closeGateway(gateway: Server): Promise<void> {
  if (!gateway.listening) return
  await new Promise<void>((resolve) => gateway.close(() => resolve()))
}
