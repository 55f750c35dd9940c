import type { Config } from "../config.ts"
import { isForeignHost, isLoopbackAddress, isLoopbackName, parseAuthority } from "./address.ts"

/**
 * Who may call. In open mode, where no key exists, only programs and pages of this very machine: everything
 * here keeps a web page elsewhere, a name that was rebound to us or a forwarding proxy from borrowing that
 * trust. With keys, only who knows one (`access/`). Pure functions of a call's socket and headers.
 */

export interface CallFacts {
  method: string
  /** The socket's other end. */
  peer: string | undefined
  headers: Record<string, string | string[] | undefined>
  /** The listener ends TLS for the foreign hosts. */
  servesForeignHosts: boolean
  /** A file that anyone who knows its name may read. */
  publicFile: boolean
}

export interface OpenModeSettings {
  allowedOrigins: string[]
  /** Host of the public URL; null without one. */
  configuredHost: string | null
}

export interface Refusal {
  status: 401 | 403 | 421
  detail: string
}

const createKey =
  "This server has no key, so it serves this machine only: create a key (tintype keys create, or TINTYPE_KEY=id:secret) to serve others"

/** Decides whether a server without a key answers the call; null when it does. */
export function refuseInOpenMode(call: CallFacts, settings: OpenModeSettings): Refusal | null {
  if (call.peer === undefined || !isLoopbackAddress(call.peer)) {
    return { status: 403, detail: createKey }
  }
  const hostname = parseAuthority(header(call, "host"))?.hostname
  if (hostname === undefined || !isKnownHost(hostname, call, settings)) {
    return {
      status: 421,
      detail: `This server does not answer for the host ${hostname ?? "given"}`,
    }
  }
  if (Object.keys(call.headers).some((name) => /^(forwarded|via|x-forwarded-.*)$/.test(name))) {
    return { status: 403, detail: `The call was forwarded by a proxy. ${createKey}` }
  }
  const origin = header(call, "origin")
  if (origin !== undefined) {
    if (isOpenModeOrigin(origin, settings)) return null
    return { status: 403, detail: `Origin ${origin.slice(0, 200)} is not in allowedOrigins` }
  }
  if (header(call, "sec-fetch-site") === "cross-site" && !(call.publicFile && isRead(call))) {
    return { status: 403, detail: "Cross-site calls are refused" }
  }
  return null
}

function isKnownHost(hostname: string, call: CallFacts, settings: OpenModeSettings): boolean {
  return (
    isLoopbackName(hostname) ||
    hostname === settings.configuredHost ||
    (call.servesForeignHosts && isForeignHost(hostname))
  )
}

/** May pages of this origin call a server without a key? */
export function isOpenModeOrigin(origin: string, settings: OpenModeSettings): boolean {
  if (settings.allowedOrigins.includes(origin)) return true
  const match = /^https?:\/\/([^/]+)$/.exec(origin)
  const hostname = parseAuthority(match?.[1])?.hostname
  return hostname !== undefined && isLoopbackName(hostname)
}

function isRead(call: CallFacts): boolean {
  return call.method === "GET" || call.method === "HEAD"
}

function header(call: CallFacts, name: string): string | undefined {
  const value = call.headers[name]
  return Array.isArray(value) ? value[0] : value
}

export interface AccessSettings extends OpenModeSettings {
  /** No key exists, and only this machine can call. */
  readonly open: boolean
}

/** What of the configuration decides who may call. */
export function readOpenModeSettings(
  config: Pick<Config, "publicUrl" | "allowedOrigins">,
): OpenModeSettings {
  const configuredHost = config.publicUrl === null ? null : new URL(config.publicUrl).hostname
  return { allowedOrigins: config.allowedOrigins, configuredHost }
}

/** Of an answer, what a page may read beside every `x-fal-*` and `x-tintype-*`. */
const exposedHeaders = ["x-fal-request-id", "etag", "content-range", "retry-after"]

/**
 * The CORS headers of an answer whose own headers are `answered`: with keys anyone may read it, in open mode only
 * origins that may call.
 */
export function corsHeaders(
  headers: CallFacts["headers"],
  settings: AccessSettings,
  answered: string[],
): Record<string, string> {
  const own = answered.filter((name) => /^x-(fal|tintype)-/.test(name))
  const exposed = {
    "access-control-expose-headers": [...new Set([...exposedHeaders, ...own])].join(", "),
  }
  if (!settings.open) return { "access-control-allow-origin": "*", ...exposed }
  const origin = typeof headers.origin === "string" ? headers.origin : undefined
  if (origin === undefined || !isOpenModeOrigin(origin, settings)) return { vary: "origin" }
  return { "access-control-allow-origin": origin, ...exposed, vary: "origin" }
}

/** What a preflight is told beside `corsHeaders`; null when the call is not a preflight. */
export function preflightHeaders(
  method: string,
  headers: CallFacts["headers"],
): Record<string, string> | null {
  const asked = headers["access-control-request-method"]
  if (method !== "OPTIONS" || typeof asked !== "string") return null
  const names = headers["access-control-request-headers"]
  return {
    "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    ...(typeof names === "string" ? { "access-control-allow-headers": names } : {}),
    "access-control-max-age": "600",
    ...(headers["access-control-request-private-network"] === "true"
      ? { "access-control-allow-private-network": "true" }
      : {}),
  }
}
