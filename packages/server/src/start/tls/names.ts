import { isIP } from "node:net"
import { foreignHosts, hostPrefixes } from "@tintype/protocol"
import type { Config } from "../../config.ts"

/**
 * What the certificate is for: every foreign host by its exact name, this machine, and what the server itself is called by.
 * `*.localhost` is spelt out, as OpenSSL and Node refuse a wildcard right below the root.
 */
export function certificateNames(config: Pick<Config, "host" | "publicUrl">): string[] {
  const own = config.publicUrl === null ? [] : [new URL(config.publicUrl).hostname]
  const names = [
    ...Object.keys(foreignHosts),
    "localhost",
    ...hostPrefixes.map((prefix) => `${prefix}.localhost`),
    "127.0.0.1",
    "::1",
    config.host,
    ...own,
  ]
  const plain = names.map((name) => name.replace(/^\[|\]$/g, "").toLowerCase())
  return [...new Set(plain)].filter((name) => !isWildcardAddress(name))
}

/** Nobody calls the address that stands for all of them. */
function isWildcardAddress(name: string): boolean {
  return isIP(name) !== 0 && /^[0:.]+$/.test(name)
}
