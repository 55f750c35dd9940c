import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http"
import { request as requestHttps } from "node:https"
import { ForbiddenAddressError } from "@tintype/app/address-rule"
import type { DeliveryTry } from "../domain/delivery.ts"
import type { Connections } from "./connections.ts"

export interface WebhookPost {
  url: string
  headers: Record<string, string>
  body: Uint8Array
}

export interface PostOptions {
  connections: Connections
  /** The connection stays for the next call to the same origin. */
  keepsConnection: boolean
  /** For the whole. */
  timeoutMs: number
  answerBytesMax: number
  /** Aborting it rejects with its reason. */
  signal: AbortSignal
}

export type PostResult = Omit<DeliveryTry, "at" | "durationMs">

/** The rest of a head that came: nobody is kept waiting for what is only shown to people. */
const answerMs = 2_000

/**
 * Sends one webhook. The address is judged when it is connected to, a redirect is an answer like any other, and only the
 * beginning of an answer's body is read. Whatever goes wrong is a result; only an abort rejects.
 */
export async function postWebhook(post: WebhookPost, options: PostOptions): Promise<PostResult> {
  const { timeoutMs, signal } = options
  signal.throwIfAborted()
  const ending = new AbortController()
  const end = () => ending.abort()
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    end()
  }, timeoutMs)
  signal.addEventListener("abort", end)
  let status: number | null = null
  try {
    const { request, response } = await send(post, options, ending.signal)
    status = response.statusCode ?? 0
    try {
      const answer = await readStart(response, options.answerBytesMax)
      await untilSent(request)
      return { status, answer, error: null, detail: null }
    } finally {
      // What is left of an answer would be taken for the beginning of the next one.
      if (!response.readableEnded) request.destroy()
    }
  } catch (error) {
    signal.throwIfAborted()
    if (isLate) {
      const detail = `no answer within ${timeoutMs / 1_000} s`
      return { status, answer: "", error: "timeout", detail }
    }
    const kind = error instanceof ForbiddenAddressError ? "forbidden_address" : "connection"
    return { status, answer: "", error: kind, detail: reasonOf(error) }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener("abort", end)
  }
}

async function send(
  { url: target, headers, body }: WebhookPost,
  { connections, keepsConnection }: PostOptions,
  signal: AbortSignal,
): Promise<{ request: ClientRequest; response: IncomingMessage }> {
  const url = new URL(target)
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
    ...connections.optionsFor(url),
    method: "POST",
    signal,
    headers: {
      connection: keepsConnection ? "keep-alive" : "close",
      "content-type": "application/json",
      "content-length": body.byteLength,
      "user-agent": "tintype",
      accept: "*/*",
      ...headers,
    },
  })
  request.once("response", resolve)
  // For good: a connection that breaks after its answer came must not end the process.
  request.on("error", reject)
  request.end(body)
  return { request, response: await promise }
}

/** The first bytes of an answer, as text; what cannot be read is not missed, as the status has said it all. */
async function readStart(response: IncomingMessage, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  const timer = setTimeout(() => response.destroy(), answerMs)
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk.subarray(0, bytesMax - bytes))
      bytes += chunk.length
      if (bytes >= bytesMax) break
    }
  } catch {
    // Cut off, or slower than we wait.
  } finally {
    clearTimeout(timer)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
}

/** An answer that came before the receiver can have had everything is no sign that it has. */
async function untilSent(request: ClientRequest): Promise<void> {
  if (request.writableFinished) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const broke = () => reject(new Error("the connection closed before everything was sent"))
  request.once("finish", resolve).once("close", broke).once("error", broke)
  if (request.destroyed) broke()
  await promise
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  return "code" in error && typeof error.code === "string" ? error.code : error.message
}
