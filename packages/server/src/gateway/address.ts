import { BlockList, isIP } from "node:net"
import {
  findForeignSurface,
  foreignHosts,
  hostPrefixes,
  reservedSegments,
  strippedPrefixes,
  type Surface as HostSurface,
} from "@tintype/protocol"

/**
 * Where a call goes: one origin serves every host of the API. Foreign hosts and our own subdomains name a
 * surface, every other host goes by prefix. Pure; nothing here trusts a header that the caller of
 * `resolveAddress` did not vouch for.
 */

export type Surface = "run" | "queue" | "ws" | "rest" | "files" | "api" | "kv" | "web" | "own"

export interface Address {
  surface: Surface
  /** What the surface sees, percent-encoding kept, without the query; begins with a slash. */
  path: string
  query: URLSearchParams
  /** Scheme and authority of our own URLs in the answer, and the path of the public URL. */
  base: string
  /** Endpoints are called at `${runBase}/owner/alias`. */
  runBase: string
  /** Request URLs are `${statusBase}/owner/alias/requests/…`. */
  statusBase: string
  /** Output files are `${fileBase}/name`. */
  fileBase: string
  /** The host that was called, in lower case, without its port. */
  hostname: string
}

/** A fal host that no surface of ours stands for. */
export interface UnservedHost {
  unserved: string
}

export interface AddressSettings {
  publicUrl: string | null
  trustProxy: string[]
}

export interface AddressedCall {
  /** The `Host` header. */
  host: string | undefined
  /** The request target as received. */
  url: string
  encrypted: boolean
  /** The socket's other end. */
  peer: string | undefined
  forwardedHost: string | undefined
  forwardedProto: string | undefined
}

/** File names begin with `b/` and 8 hex digits, as those of the hosted CDN do. */
const foreignFileBase = "https://v3b.fal.media/files"

export function isForeignHost(hostname: string): boolean {
  return Object.hasOwn(foreignHosts, hostname)
}

function toSurface(named: HostSurface): Surface {
  return named === "cdn" ? "files" : named
}

/** `localhost`, `*.localhost` or a loopback address; `hostname` in lower case, IPv6 with or without brackets. */
export function isLoopbackName(hostname: string): boolean {
  if (hostname === "localhost" || hostname.endsWith(".localhost")) return true
  return isLoopbackAddress(hostname.replace(/^\[|\]$/g, ""))
}

/** Is this the address of a socket that cannot be reached from another machine? */
export function isLoopbackAddress(address: string): boolean {
  const plain = address.replace(/^::ffff:/i, "")
  if (isIP(plain) === 4) return plain.startsWith("127.")
  return plain === "::1"
}

export interface Authority {
  hostname: string
  /** With the port, when one was given. */
  host: string
}

/** The parts of a Host header; null when it is not one. */
export function parseAuthority(host: string | undefined): Authority | null {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)\.?(:\d{1,5})?$/i.exec(
    host ?? "",
  )
  if (match?.[1] === undefined) return null
  const hostname = match[1].toLowerCase()
  return { hostname, host: hostname + (match[2] ?? "") }
}

/** Is the peer one of the proxies whose `X-Forwarded-*` are believed? */
export function buildProxyTrust(blocks: string[]): (peer: string | undefined) => boolean {
  const list = new BlockList()
  for (const block of blocks) {
    const [address = "", bits] = block.split("/")
    const family = isIP(address) === 6 ? "ipv6" : "ipv4"
    list.addSubnet(address, bits === undefined ? (family === "ipv6" ? 128 : 32) : +bits, family)
  }
  return (peer) => {
    if (peer === undefined || blocks.length === 0) return false
    const plain = peer.replace(/^::ffff:/i, "")
    return list.check(plain, isIP(plain) === 6 ? "ipv6" : "ipv4")
  }
}

export type AddressResolver = (call: AddressedCall) => Address | UnservedHost | null

/** Builds the function that finds a call's surface; it answers null when Host or URL are malformed. */
export function buildAddressResolver(settings: AddressSettings): AddressResolver {
  const publicUrl = settings.publicUrl === null ? null : new URL(settings.publicUrl)
  const trusts = buildProxyTrust(settings.trustProxy)
  return (call) => {
    const trusted = trusts(call.peer)
    const target = splitTarget(call.url)
    if (target === null) return null
    const forwarded = trusted ? lastOf(call.forwardedHost) : undefined
    const authority = parseAuthority(forwarded ?? call.host)
    if (authority === null) return null
    const proto = trusted ? lastOf(call.forwardedProto)?.toLowerCase() : undefined
    const secure = proto === undefined ? call.encrypted : proto === "https"
    return place({ authority, secure, path: target.path, query: target.query, publicUrl })
  }
}

interface Place {
  authority: Authority
  secure: boolean
  path: string
  query: string
  publicUrl: URL | null
}

/** Only the last value of a list was written by the proxy that we trust. */
function lastOf(header: string | undefined): string | undefined {
  return header?.split(",").at(-1)?.trim()
}

function splitTarget(url: string): { path: string; query: string } | null {
  const mark = url.indexOf("?")
  const path = mark === -1 ? url : url.slice(0, mark)
  if (!path.startsWith("/") && path !== "") return null
  return { path: path || "/", query: mark === -1 ? "" : url.slice(mark + 1) }
}

function place({ authority, secure, path, query, publicUrl }: Place): Address | UnservedHost {
  const { hostname } = authority
  const found = { query: new URLSearchParams(query), hostname }
  const foreign = findForeignSurface(hostname)
  if (foreign === "unknown") return { unserved: hostname }
  if (foreign !== null) {
    const runHost = hostname.endsWith("falrun.com") ? "falrun.com" : "fal.run"
    return {
      ...found,
      surface: toSurface(foreign),
      path,
      base: `https://${hostname}`,
      runBase: `https://${runHost}`,
      statusBase: `https://queue.${runHost}`,
      fileBase: foreignFileBase,
    }
  }
  const scheme = publicUrl?.protocol ?? (secure ? "https:" : "http:")
  const named = nameSubdomain(authority, publicUrl)
  if (named !== null) {
    const base = `${scheme}//${named.parent}`
    return {
      ...found,
      surface: named.surface,
      path,
      base,
      runBase: base,
      statusBase: `${scheme}//queue.${named.parent}`,
      fileBase: `${base}/files`,
    }
  }
  const base = publicUrl?.href.replace(/\/$/, "") ?? `${scheme}//${authority.host}`
  return {
    ...found,
    ...placeByPrefix(path),
    base,
    runBase: base,
    statusBase: `${base}/queue`,
    fileBase: `${base}/files`,
  }
}

/** `queue.` + the configured host, and `queue.localhost`, which always counts as one. */
function nameSubdomain(
  authority: Authority,
  publicUrl: URL | null,
): { surface: Surface; parent: string } | null {
  const dot = authority.hostname.indexOf(".")
  const label = authority.hostname.slice(0, Math.max(dot, 0))
  const prefix = hostPrefixes.find((name) => name === label)
  if (prefix === undefined) return null
  const parent = authority.hostname.slice(dot + 1)
  if (parent !== "localhost" && parent !== publicUrl?.hostname.toLowerCase()) return null
  return { surface: toSurface(prefix), parent: authority.host.slice(dot + 1) }
}

/** The surface by the first path segment, as on every host that does not name one. */
export function placeByPrefix(path: string): { surface: Surface; path: string } {
  const end = path.indexOf("/", 1)
  const first = path.slice(1, end === -1 ? undefined : end)
  const stripped = strippedPrefixes.find((name) => name === first)
  if (stripped !== undefined) {
    return { surface: stripped, path: end === -1 ? "/" : path.slice(end) }
  }
  if (first === "files") return { surface: "files", path }
  if (first === "v1") return { surface: "api", path }
  return { surface: reservedSegments.includes(first) ? "own" : "run", path }
}
