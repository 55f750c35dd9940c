import type { IncomingMessage, ServerResponse } from "node:http"
import { TLSSocket } from "node:tls"
import { asNobody, type Caller, identify, isRefusal, refuseCaller } from "./access/caller.ts"
import { answerKeys, keysPath } from "./access/keys-route.ts"
import { findToken, identifyByToken } from "./access/tokens.ts"
import { answerTokens, isTokensPath } from "./access/tokens-route.ts"
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
import { answerFiles } from "./files/files.ts"
import { parseUploadPath } from "./files/paths.ts"
import { answerStorage, isStoragePath } from "./files/storage.ts"
import { preflightHeaders, type Refusal, refuseInOpenMode } from "./open-mode.ts"
import type { Call, Gateway } from "./parts.ts"
import { answerRequests, requestsPath } from "./platform/request-routes.ts"
import { isTransfer, passTransfer } from "./platform/runner-routes.ts"
import { answerTls, tlsPath } from "./platform/tls-route.ts"
import {
  answerKeySet,
  answerWebhooks,
  keySetPath,
  webhooksPath,
} from "./platform/webhook-routes.ts"

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

export interface RoutedAnswer {
  /** Null when the call never got to one. */
  surface: Surface | null
  /** Null: whoever took the call over answers it. */
  answer: Answer | null
}

/** Where a call goes, or why it goes nowhere; the first half of its way, which requests and upgrades have in common. */
export async function placeCall(
  { gateway, resolve }: Door,
  received: Omit<ReceivedCall, "response">,
): Promise<{ address: Address } | (RoutedAnswer & { answer: Answer })> {
  const { raw, method, url } = received
  const { headers, socket } = raw
  const encrypted = socket instanceof TLSSocket
  const found = resolve({
    host: headers.host,
    url,
    encrypted,
    peer: socket.remoteAddress,
    forwardedHost: oneOf(headers["x-forwarded-host"]),
    forwardedProto: oneOf(headers["x-forwarded-proto"]),
  })
  await gateway.keys.look()
  const address = found === null || "unserved" in found ? null : found
  const refused = gateway.keys.open ? refuseOpen(gateway, received, encrypted, address) : null
  if (refused !== null) return { surface: address?.surface ?? null, answer: refused }
  if (found !== null && "unserved" in found) {
    return { surface: null, answer: notServed(found.unserved) }
  }
  if (address === null) return { surface: null, answer: badRequest("Host or URL is malformed") }
  const preflight = preflightHeaders(method, headers)
  if (preflight !== null) {
    return { surface: null, answer: { status: 204, headers: preflight, body: null } }
  }
  return { address }
}

export async function answerCall(door: Door, received: ReceivedCall): Promise<RoutedAnswer> {
  const { gateway } = door
  const { raw, method } = received
  const { headers } = raw
  const placed = await placeCall(door, received)
  if ("answer" in placed) return placed
  const { address } = placed
  if (isTransfer(address)) {
    return { surface: address.surface, answer: await passTransfer(gateway, received) }
  }
  const meant = isProxyDoor(address)
    ? resolveProxied({ address, headers }, door.resolve)
    : { address }
  if ("answer" in meant) return { surface: null, answer: meant.answer }
  const { surface } = meant.address
  const caller = await findCaller(gateway, received, meant.address)
  if (isRefusal(caller)) return { surface, answer: refusal(caller.status, caller.detail) }
  const call: Call = {
    method,
    address: meant.address,
    headers,
    raw,
    response: received.response,
    caller,
    account: caller.account,
  }
  return { surface, answer: await answerAllowed(gateway, call) }
}

/** Who calls; a key that is revoked meanwhile ends the call. */
async function findCaller(
  gateway: Gateway,
  { method, raw, response }: ReceivedCall,
  address: Address,
): Promise<Caller | Refusal> {
  const shown = findToken(address, method, raw.headers.authorization)
  const caller =
    shown === null
      ? await identify(gateway, raw.headers, address)
      : await identifyByToken(gateway, shown.token, shown.endpoint)
  if (isRefusal(caller)) return isPublic(method, address) ? asNobody() : caller
  if (caller.key !== null && !response.destroyed) {
    const release = gateway.keys.hold(caller.key.id, () => response.destroy())
    response.once("close", release)
  }
  return caller
}

function refuseOpen(
  gateway: Gateway,
  { method, raw }: Omit<ReceivedCall, "response">,
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
    const refused = isPublic(call.method, call.address) ? null : await refuseCaller(gateway, call)
    if (refused !== null) return refusal(refused.status, refused.detail)
    return await answerSurface(gateway, call)
  } catch (error) {
    return answerError(error, parts)
  }
}

/** What anyone may read, key or not, and what opens with its URL alone. */
function isPublic(method: string, { surface, path }: Address): boolean {
  if (surface === "files" && parseUploadPath(path) !== null) return true
  if (method !== "GET" && method !== "HEAD") return false
  if (surface === "files" || isKeySet(surface, path)) return true
  if (surface === "own" && path === tlsPath) return true
  return (surface === "own" || surface === "web") && /^\/(health|api\/openapi)(\/|$)/.test(path)
}

async function answerSurface(gateway: Gateway, call: Call): Promise<Answer> {
  const { surface, path } = call.address
  switch (surface) {
    case "run":
      return path === "/" ? describeServer(call) : await answerRun(gateway, call)
    case "queue":
      return path === "/" ? describeServer(call) : await answerQueue(gateway, call)
    case "files":
      return await answerFiles(gateway, call)
    case "api":
      if (isStoragePath(path)) return await answerStorage(gateway, call)
      return await answerPlatformApi(gateway, call)
    case "rest":
      if (isKeySet(surface, path)) return answerKeySet(gateway, call)
      if (isTokensPath(path)) return await answerTokens(gateway, call)
      if (isStoragePath(path)) return await answerStorage(gateway, call)
      return notServed(`${surface} (${path.slice(0, 200)})`)
    case "web":
    case "own":
      return await answerFixed(gateway, call)
    default:
      return notServed(`${surface} (${path.slice(0, 200)})`)
  }
}

/** Receivers of webhooks look for it on the REST host, and some on any. */
function isKeySet(surface: Surface, path: string): boolean {
  return (surface === "rest" || surface === "web" || surface === "own") && path === keySetPath
}

/** The fixed paths beside the surfaces. */
async function answerFixed(gateway: Gateway, call: Call): Promise<Answer> {
  const path = call.address.path.replace(/(.)\/$/, "$1")
  if (path === "/api/openapi/queue/openapi.json") return await answerOpenapi(gateway, call)
  if (isKeySet(call.address.surface, path)) return answerKeySet(gateway, call)
  if (call.address.surface === "own" && `${path}/`.startsWith(`${webhooksPath}/`)) {
    return await answerWebhooks(gateway, call)
  }
  if (call.address.surface === "own" && `${path}/`.startsWith(`${requestsPath}/`)) {
    return await answerRequests(gateway, call)
  }
  if (call.address.surface === "own" && `${path}/`.startsWith(`${keysPath}/`)) {
    return await answerKeys(gateway, call)
  }
  if (path === tlsPath && call.address.surface === "own") return answerTls(gateway, call)
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
