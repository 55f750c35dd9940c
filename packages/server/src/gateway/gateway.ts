import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { KeyRing } from "./access/key-ring.ts"
import { RateLimiter } from "./access/rate-limit.ts"
import { buildAddressResolver, isLoopbackName } from "./address.ts"
import { type Answer, answerError, asPlatformApiAnswer, identified, refusal } from "./answer.ts"
import { AppDirectory } from "./app-directory.ts"
import { Pulse } from "./doors/event-stream.ts"
import { proxyPath } from "./doors/proxy.ts"
import { watchRepeats } from "./idempotency/repeats.ts"
import { endSocket } from "./end-socket.ts"
import { discardBody, hasUnreadBody } from "./intake.ts"
import { corsHeaders, readOpenModeSettings } from "./open-mode.ts"
import type { Gateway, GatewayParts } from "./parts.ts"
import { answerUpgrade, isUpgraded } from "./doors/upgrade.ts"
import { PositionReader, WaiterCount } from "./position-reader.ts"
import { CallerSockets } from "./realtime/caller-sockets.ts"
import { requestLogEntry } from "./request-log.ts"
import { answerCall, type Door } from "./route.ts"

export type { GatewayLogEntry, GatewayParts } from "./parts.ts"

/** How often an idle stream is looked at: a queued request's position changes without a change of the request. */
const pulseMs = 500

/** A connection that says nothing for so long before or within its headers is ended. */
const headersTimeoutMs = 30_000

/**
 * Builds the HTTP side: every door, files, catalogue and health. The caller listens and closes.
 *
 *     createGateway(parts).listen({ host: "127.0.0.1", port: 3250 })
 */
export function createGateway(parts: GatewayParts): Server {
  const { config } = parts
  const keys = new KeyRing({
    store: parts.store,
    hints: parts.hints,
    bootstrap: config.key,
    loopback: isLoopbackName(config.host),
  })
  const settings = readOpenModeSettings(config)
  const gateway: Gateway = {
    parts,
    access: {
      ...settings,
      get open() {
        return keys.open
      },
    },
    keys,
    rates: new RateLimiter(() => performance.now()),
    sockets: new CallerSockets(config),
    apps: new AppDirectory(parts.store),
    positions: new PositionReader(parts.store, config.timing.positionEveryMs),
    waiters: new WaiterCount(config.limits.waitersMax),
    pulse: new Pulse(Math.min(pulseMs, config.timing.streamPingMs)),
    repeats: watchRepeats(parts),
  }
  const door: Door = { gateway, resolve: buildAddressResolver(config) }
  const server = createServer(
    {
      // Longer than the clients' pools keep a connection; shorter ones make them send a submit twice.
      keepAliveTimeout: config.timing.keepAliveMs,
      headersTimeout: headersTimeoutMs,
      // A whole request may take as long as it makes progress; see intake.ts.
      requestTimeout: 0,
      requireHostHeader: false,
      // Whoever offers another protocol elsewhere is answered in this one.
      shouldUpgradeCallback: isUpgraded,
    },
    (request, response) => {
      respond(door, request, response).catch((error: unknown) => {
        parts.log({ event: "error", requestId: parts.newId(), error })
        response.destroy()
      })
    },
  )
  server.maxConnections = config.limits.connectionsMax
  server.on("clientError", answerBrokenRequest)
  server.on("close", () => {
    keys.close()
    gateway.sockets.close()
    gateway.repeats.close()
  })
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    // A body that will be refused is not asked for.
    const { bodyBytesMax, fileBytesMax } = config.limits
    const bytesMax = request.url?.includes("/files/") === true ? fileBytesMax : bodyBytesMax
    const isTooLarge = Number(request.headers["content-length"]) > bytesMax
    if (isTooLarge) response.setHeader("connection", "close")
    else response.writeContinue()
    server.emit("request", request, response)
  })
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    // The only expectation there is, is 100-continue; what else is asked for changes nothing.
    server.emit("request", request, response)
  })
  server.on("upgrade", (request: IncomingMessage, socket, head) => {
    toOriginForm(request)
    void answerUpgrade(door, { request, socket, head })
  })
  server.on("connect", (_, socket) =>
    endSocket(socket, brokenRequest(405, "CONNECT is for proxies")),
  )
  return server
}

/** Bytes that are not HTTP, or headers beyond the limits or too slow: the parser gave up, so the connection ends. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  // Node's own rule, for which it has this field alone: no error goes into an answer that is under way.
  const underWay: unknown = Reflect.get(socket, "_httpMessage")
  const corrupts = underWay instanceof ServerResponse && underWay.headersSent
  if (error.code === "ECONNRESET" || !socket.writable || corrupts) {
    socket.destroy()
    return
  }
  if (error.code === "HPE_HEADER_OVERFLOW") {
    endSocket(socket, brokenRequest(431, "The headers are too large"))
  } else endSocket(socket, brokenRequest(400, "The request is not valid HTTP"))
}

/** What Node gives up before there is a call. */
function brokenRequest(status: 400 | 405 | 431, detail: string): Answer {
  const headers = { "x-fal-error-type": "bad_request" }
  return refusal(status, detail, { extra: { error_type: "bad_request" }, headers })
}

/** Answers one call, and logs it when its connection is done with it. */
async function respond(door: Door, raw: IncomingMessage, response: ServerResponse): Promise<void> {
  const { parts } = door.gateway
  toOriginForm(raw)
  door.gateway.repeats.answers.carry(raw.socket)
  const { method = "", url = "/" } = raw
  logWhenClosed(parts, raw, response)
  const { surface, answer: found } = await answerCall(door, { method, url, raw, response }).catch(
    (error: unknown) => ({ surface: null, answer: answerError(error, parts) }),
  )
  if (found === null) return
  const answer = await untilReadable(found).catch((error: unknown) => answerError(error, parts))
  const shaped =
    surface === "api"
      ? asPlatformApiAnswer(answer, () => parts.newId())
      : identified(answer, () => parts.newId())
  const shared = sharedHeaders(door.gateway, raw, Object.keys(shaped.headers))
  const headers = { ...shared, ...shaped.headers }
  await send(
    { raw, response, discardBytesMax: 2 * parts.config.limits.bodyBytesMax },
    shaped,
    headers,
  )
}

/**
 * RFC 9112, 3.2.2: the authority of an absolute-form target stands in for Host. Put there before anyone looks, it is held to
 * the same rules.
 */
function toOriginForm(raw: IncomingMessage): void {
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(raw.url ?? "")
  if (absolute === null) return
  const [, authority = "", rest = ""] = absolute
  raw.headers.host = authority
  raw.url = rest.startsWith("/") ? rest : `/${rest}`
}

function logWhenClosed(parts: GatewayParts, raw: IncomingMessage, response: ServerResponse): void {
  const startedAt = performance.now()
  const { method = "", url = "/" } = raw
  // What a proxied call is about stands in a header.
  const target = url.startsWith(proxyPath) ? raw.headers["x-fal-target-url"] : undefined
  response.once("close", () => {
    const requestId = response.getHeader("x-fal-request-id")
    const call = {
      method,
      url: typeof target === "string" ? target : url,
      // Never answered: its caller went away first.
      status: response.headersSent ? response.statusCode : 499,
      startedAt,
      requestId: typeof requestId === "string" ? requestId : null,
    }
    parts.log(requestLogEntry(call, performance.now()))
  })
}

/** The headers that every answer has, whatever it is. */
function sharedHeaders(
  { parts, access }: Gateway,
  raw: IncomingMessage,
  answered: string[],
): Record<string, string> {
  const cors = corsHeaders(raw.headers, access, answered)
  return parts.draining === true ? { ...cors, connection: "close" } : cors
}

/** A body whose first bytes cannot be read is told by a status, which is too late once the head is sent. */
async function untilReadable(answer: Answer): Promise<Answer> {
  const { body } = answer
  if (body instanceof Readable && body.readable) await once(body, "readable")
  return answer
}

interface Exchange {
  raw: IncomingMessage
  response: ServerResponse
  /** How much of a body that nobody wanted is read: enough for whoever sends a little too much to read why. */
  discardBytesMax: number
}

async function send(
  exchange: Exchange,
  { status, body }: Answer,
  headers: Record<string, string>,
): Promise<void> {
  const { response } = exchange
  if (response.destroyed) {
    // Its caller is gone; what was opened for it must not stay open.
    if (body instanceof Readable) body.destroy()
    if (typeof body === "function") await body(response)
    return
  }
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  response.statusCode = status
  // Node has no words for it, and clients show them to people.
  if (status === 499) response.statusMessage = "Client Closed Request"
  if (typeof body === "function") {
    response.flushHeaders()
    // The head is sent, so an error can only be shown by an end that is none.
    await body(response).catch(() => response.destroy())
    return
  }
  if (body instanceof Readable) {
    await pipeline(body, response).catch(() => response.destroy())
    return
  }
  await sendWhole(exchange, body)
}

/** A body that is a string leaves in one write with its head. */
async function sendWhole(exchange: Exchange, body: string | Uint8Array | null): Promise<void> {
  const { raw, response, discardBytesMax } = exchange
  if (body === null) {
    response.end()
    return
  }
  response.setHeader("content-length", Buffer.byteLength(body))
  if (hasUnreadBody(raw) && response.getHeader("connection") !== "close") {
    // The caller has its answer at once, but the connection stays until it has said all it wanted to say.
    response.write(body)
    await discardBody(raw, discardBytesMax)
    response.end()
    return
  }
  response.end(body)
}
