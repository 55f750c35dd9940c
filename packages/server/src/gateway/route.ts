import type { IncomingMessage, ServerResponse } from "node:http"
import { TLSSocket } from "node:tls"
import { parseEndpointId } from "@tintype/protocol"
import type { Address, AddressResolver, Surface } from "./address.ts"
import {
  type Answer,
  answerError,
  badRequest,
  jsonAnswer,
  methodNotAllowed,
  notServed,
  refusal,
} from "./answer.ts"
import { answerOpenapi, answerPlatformApi } from "./catalogue.ts"
import { proxyPath, resolveProxied } from "./doors/proxy.ts"
import { answerQueue } from "./doors/queue.ts"
import { answerRun, describeServer } from "./doors/run.ts"
import { answerFile } from "./files.ts"
import { preflightHeaders, refuseInOpenMode, refuseWithoutKey } from "./open-mode.ts"
import type { Call, Gateway } from "./parts.ts"

/** Origin check → address → proxy → key → surface: what every call goes through, in this order. */

export interface Door {
  gateway: Gateway
  resolve: AddressResolver
}

export interface ReceivedCall {
  method: string
  /** The request target as received. */
  url: string
  raw: IncomingMessage
  response: ServerResponse
}

/** The one account of open mode and of the bootstrap key. */
const localAccount = "local"

export interface RoutedAnswer {
  /** Null when the call never got to one. */
  surface: Surface | null
  answer: Answer
}

export async function answerCall(door: Door, received: ReceivedCall): Promise<RoutedAnswer> {
  const { gateway } = door
  const { parts } = gateway
  const { raw, method, url } = received
  const { headers, socket } = raw
  const encrypted = socket instanceof TLSSocket
  const found = door.resolve({
    host: headers.host,
    url,
    encrypted,
    peer: socket.remoteAddress,
    forwardedHost: oneOf(headers["x-forwarded-host"]),
    forwardedProto: oneOf(headers["x-forwarded-proto"]),
  })
  const address = found === null || "unserved" in found ? null : found
  const refused =
    parts.config.key === null ? refuseOpen(gateway, received, encrypted, address) : null
  if (refused !== null) return { surface: address?.surface ?? null, answer: refused }
  if (found !== null && "unserved" in found) {
    return { surface: null, answer: notServed(found.unserved) }
  }
  if (address === null) return { surface: null, answer: badRequest("Host or URL is malformed") }
  const preflight = preflightHeaders(method, headers)
  if (preflight !== null) {
    return { surface: null, answer: { status: 204, headers: preflight, body: null } }
  }
  const meant = isProxyDoor(address)
    ? resolveProxied({ address, headers }, door.resolve)
    : { address }
  if ("answer" in meant) return { surface: null, answer: meant.answer }
  const call: Call = {
    method,
    address: meant.address,
    headers,
    raw,
    response: received.response,
    account: localAccount,
  }
  return { surface: call.address.surface, answer: await answerAllowed(gateway, call) }
}

function refuseOpen(
  gateway: Gateway,
  { method, raw }: ReceivedCall,
  encrypted: boolean,
  address: Address | null,
): Answer | null {
  const facts = {
    method,
    peer: raw.socket.remoteAddress,
    headers: raw.headers,
    servesForeignHosts: encrypted,
    publicFile: address?.surface === "files",
  }
  const refused = refuseInOpenMode(facts, gateway.access)
  return refused === null ? null : refusal(refused.status, refused.detail)
}

function oneOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(",") : header
}

function isProxyDoor({ surface, path }: Address): boolean {
  return surface === "own" && path.replace(/\/$/, "") === proxyPath
}

async function answerAllowed(gateway: Gateway, call: Call): Promise<Answer> {
  const { parts } = gateway
  try {
    const { key } = parts.config
    if (key !== null && !isPublic(call)) {
      const refused = refuseWithoutKey(call.headers.authorization, key, appOf(call.address))
      if (refused !== null) return refusal(refused.status, refused.detail)
    }
    return await answerSurface(gateway, call)
  } catch (error) {
    return answerError(error, parts)
  }
}

/** What anyone may read, key or not. */
function isPublic({ method, address: { surface, path } }: Call): boolean {
  if (method !== "GET" && method !== "HEAD") return false
  if (surface === "files") return true
  return (surface === "own" || surface === "web") && /^\/(health|api\/openapi)(\/|$)/.test(path)
}

function appOf({ surface, path }: Address): string | null {
  return surface === "run" || surface === "queue" ? (parseEndpointId(path)?.app ?? null) : null
}

async function answerSurface(gateway: Gateway, call: Call): Promise<Answer> {
  const { surface, path } = call.address
  switch (surface) {
    case "run":
      return path === "/" ? describeServer(call) : await answerRun(gateway, call)
    case "queue":
      return path === "/" ? describeServer(call) : await answerQueue(gateway, call)
    case "files":
      return await answerFile(gateway, call)
    case "api":
      return await answerPlatformApi(gateway, call)
    case "web":
    case "own":
      return await answerFixed(gateway, call)
    default:
      return notServed(`${surface} (${path.slice(0, 200)})`)
  }
}

/** The fixed paths beside the surfaces. */
async function answerFixed(gateway: Gateway, call: Call): Promise<Answer> {
  const path = call.address.path.replace(/(.)\/$/, "$1")
  if (path === "/api/openapi/queue/openapi.json") return await answerOpenapi(gateway, call)
  if (path === "/health" && call.address.surface === "own") return answerHealth(gateway, call)
  return refusal(404, `Path ${path.slice(0, 200)} not found`)
}

/** `/health` → 200 while listening; `/health?ready` → 503 until every built-in app has a runner. */
function answerHealth({ parts }: Gateway, call: Call): Answer {
  if (call.method !== "GET" && call.method !== "HEAD") {
    return methodNotAllowed(call.method, "GET, HEAD")
  }
  const { ready, detail } = parts.health()
  const status = call.address.query.has("ready") && !ready ? 503 : 200
  return jsonAnswer(status, { status: "ok", ready, ...detail }, { "cache-control": "no-store" })
}
