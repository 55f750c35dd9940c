import { type IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { Readable } from "node:stream"
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify"
import { buildAddressResolver } from "./address.ts"
import { type Answer, answerError, asPlatformApiAnswer } from "./answer.ts"
import { AppDirectory } from "./app-directory.ts"
import { proxyPath } from "./doors/proxy.ts"
import { discardBody, hasUnreadBody } from "./intake.ts"
import { corsHeaders, readAccess } from "./open-mode.ts"
import type { Gateway, GatewayParts } from "./parts.ts"
import { PositionReader, WaiterCount } from "./position-reader.ts"
import { requestLogEntry } from "./request-log.ts"
import { answerCall, type Door } from "./route.ts"

export type { GatewayLogEntry, GatewayParts } from "./parts.ts"

/** A connection that says nothing for so long before or within its headers is ended. */
const headersTimeoutMs = 30_000

/**
 * Builds the HTTP side: every door, files, catalogue and health. The caller listens and closes.
 *
 *     const gateway = await createGateway(parts)
 *     await gateway.listen({ host: "127.0.0.1", port: 3250 })
 */
export async function createGateway(parts: GatewayParts): Promise<FastifyInstance> {
  const { config } = parts
  const gateway: Gateway = {
    parts,
    access: readAccess(config),
    apps: new AppDirectory(parts.store),
    positions: new PositionReader(parts.store, config.timing.positionEveryMs),
    waiters: new WaiterCount(config.limits.waitersMax),
  }
  const resolve = buildAddressResolver(config)
  const server = createFastify(config)
  server.server.maxConnections = config.limits.connectionsMax
  // Answering in the first hook keeps the body out of the parsers, which refuse the content types they do not know.
  server.addHook("onRequest", async (request, reply) => {
    await respond({ gateway, resolve }, request.raw, request.originalUrl, reply)
    return reply
  })
  server.all("/", unreachable)
  server.setNotFoundHandler(unreachable)
  server.setErrorHandler(async (error, _request, reply) => {
    await send(reply, {}, answerError(error, parts))
    return reply
  })
  await server.ready()
  return server
}

function createFastify(config: GatewayParts["config"]): FastifyInstance {
  return Fastify({
    logger: false,
    // Where a call goes depends on its host as well, so routing is ours: to the router all calls are one.
    rewriteUrl: () => "/",
    // Longer than the clients' pools keep a connection; shorter ones make them send a submit twice.
    keepAliveTimeout: config.timing.keepAliveMs,
    // A whole request may take as long as it makes progress; see intake.ts.
    requestTimeout: 0,
    connectionTimeout: 0,
    http: { headersTimeout: headersTimeoutMs, requireHostHeader: false },
    bodyLimit: config.limits.bodyBytesMax,
    routerOptions: { maxParamLength: 1_024 },
    forceCloseConnections: false,
    return503OnClosing: false,
    clientErrorHandler: answerBrokenRequest,
  })
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
  const tooLarge = error.code === "HPE_HEADER_OVERFLOW"
  const line = tooLarge ? "431 Request Header Fields Too Large" : "400 Bad Request"
  const detail = tooLarge ? "The headers are too large" : "The request is not valid HTTP"
  const body = JSON.stringify({ detail, error_type: "bad_request" })
  const head = [
    `HTTP/1.1 ${line}`,
    "content-type: application/json",
    "x-fal-error-type: bad_request",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ]
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`)
}

function unreachable(): never {
  throw new Error("the hook has answered")
}

/** Answers one call, and logs it when its connection is done with it. */
async function respond(
  door: Door,
  raw: IncomingMessage,
  url: string,
  reply: FastifyReply,
): Promise<void> {
  const { parts } = door.gateway
  const startedAt = performance.now()
  const response = reply.raw
  const method = raw.method ?? ""
  // What a proxied call is about stands in a header.
  const target = url.startsWith(proxyPath) ? raw.headers["x-fal-target-url"] : undefined
  response.once("close", () => {
    const requestId = reply.getHeader("x-fal-request-id")
    parts.log(
      requestLogEntry(
        {
          method,
          url: typeof target === "string" ? target : url,
          // Never answered: its caller went away first.
          status: response.headersSent ? response.statusCode : 499,
          startedAt,
          requestId: typeof requestId === "string" ? requestId : null,
        },
        performance.now(),
      ),
    )
  })
  const { surface, answer } = await answerCall(door, { method, url, raw, response }).catch(
    (error: unknown) => ({ surface: null, answer: answerError(error, parts) }),
  )
  const shaped = surface === "api" ? asPlatformApiAnswer(answer, parts.newId()) : answer
  const shared = sharedHeaders(door.gateway, raw, Object.keys(shaped.headers))
  // Enough for whoever sends a little too much to read why.
  await send(reply, shared, shaped, 2 * parts.config.limits.bodyBytesMax)
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

async function send(
  reply: FastifyReply,
  shared: Record<string, string>,
  answer: Answer,
  discardBytesMax = 0,
): Promise<void> {
  const { status, body } = answer
  const headers = { ...shared, ...answer.headers }
  if (reply.raw.destroyed) {
    // Its caller is gone; what was opened for it must not stay open.
    if (body instanceof Readable) body.destroy()
    reply.hijack()
    return
  }
  if (typeof body === "function") {
    writeHead(reply, status, headers)
    // The head is sent, so an error can only be shown by an end that is none.
    await body(reply.raw).catch(() => reply.raw.destroy())
    return
  }
  // Bytes, as to the type of a string Fastify adds a charset.
  const payload = typeof body === "string" ? Buffer.from(body) : (body ?? undefined)
  const { raw } = reply.request
  if (payload instanceof Uint8Array && hasUnreadBody(raw) && headers["connection"] !== "close") {
    // The caller has its answer at once, but the connection stays until it has said all it wanted to say.
    writeHead(reply, status, { ...headers, "content-length": String(payload.byteLength) })
    reply.raw.write(payload)
    await discardBody(raw, discardBytesMax)
    reply.raw.end()
    return
  }
  void reply.code(status).headers(headers).send(payload)
}

function writeHead(reply: FastifyReply, status: number, headers: Record<string, string>): void {
  reply.hijack()
  for (const [name, value] of Object.entries(headers)) reply.raw.setHeader(name, value)
  reply.raw.writeHead(status)
  reply.raw.flushHeaders()
}
