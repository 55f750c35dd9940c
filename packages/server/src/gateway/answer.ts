import type { ServerResponse } from "node:http"
import type { Readable } from "node:stream"
import { PlatformError, platformErrorAnswer } from "@tintype/protocol"
import { BlobError } from "../blob.ts"
import { StoreError } from "../store.ts"
import type { GatewayParts } from "./parts.ts"

/** What a door answers; header names in lower case. */
export interface Answer {
  status: number
  headers: Record<string, string>
  /** A function writes the rest of the response on its own, after the head was sent. */
  body: Uint8Array | string | Readable | ((response: ServerResponse) => Promise<void>) | null
}

/** Carries an answer out of a place that cannot return it. */
export class RefusedError extends Error {
  readonly answer: Answer

  constructor(answer: Answer) {
    super(`refused with ${answer.status}`)
    this.name = "RefusedError"
    this.answer = answer
  }
}

export function jsonAnswer(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): Answer {
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  }
}

/** `{"detail"}`, and whatever else helps. */
export function refusal(
  status: number,
  detail: string,
  options: { extra?: Record<string, unknown>; headers?: Record<string, string> } = {},
): Answer {
  return jsonAnswer(status, { detail, ...options.extra }, options.headers)
}

/** A call that is malformed; 400, or 413 for one that is too large. */
export function badRequest(
  detail: string,
  options: { status?: 400 | 413; close?: boolean } = {},
): Answer {
  const headers: Record<string, string> = { "x-fal-error-type": "bad_request" }
  // The rest of a body that nobody reads would be taken for the next request.
  if (options.close === true) headers["connection"] = "close"
  return refusal(options.status ?? 400, detail, { extra: { error_type: "bad_request" }, headers })
}

export function methodNotAllowed(method: string, allow: string): Answer {
  return refusal(405, `Method ${method} is not allowed here; allowed: ${allow}`, {
    headers: { allow },
  })
}

export function notServed(what: string): Answer {
  return refusal(501, `${what} is not served by this server`)
}

/** Unknown ids answer with the keys of both routes, as either kind of client reads its own. */
export function requestNotFound(): Answer {
  return jsonAnswer(404, { detail: "Request not found", status: "NOT_FOUND" })
}

/** The request is known, its result is not kept any more. Its status says that it was there. */
export function resultNotKept(requestId: string): Answer {
  const headers = { "x-fal-request-id": requestId }
  return refusal(404, "The result of this request is not kept any more", { headers })
}

export function overloaded(detail: string): Answer {
  const { status, headers, body } = platformErrorAnswer("concurrent_requests_limit", detail)
  return { status, headers, body }
}

/** The one place that turns an error, whoever threw it, into the API's shape. */
export function answerError(error: unknown, parts: Pick<GatewayParts, "newId" | "log">): Answer {
  if (error instanceof RefusedError) return error.answer
  const callId = parts.newId()
  const platform = asPlatformError(error)
  if (platform === null) parts.log({ event: "error", requestId: callId, error })
  const { type, detail, headers: own } = platform ?? new PlatformError("internal_error")
  const { status, headers, body } = platformErrorAnswer(type, detail, { requestId: callId })
  // Without this header the Python client takes a 5xx of ours for one of an ingress.
  if (status >= 500) headers["x-fal-request-id"] = callId
  return { status, headers: { ...headers, ...own }, body }
}

function asPlatformError(error: unknown): PlatformError | null {
  if (error instanceof PlatformError) return error
  if (error instanceof StoreError) {
    if (error.code === "full") return new PlatformError("storage_full")
    if (error.code === "queue_too_long") return new PlatformError("queue_too_long")
    if (error.code === "key_reused") return new PlatformError("idempotency_key_reused")
    if (error.code === "over_quota") return new PlatformError("storage_quota_exceeded")
    if (error.code === "limited") return new PlatformError("concurrent_requests_limit")
    if (error.code === "closed") return new PlatformError("server_stopping")
  }
  if (error instanceof BlobError && error.code === "full") return new PlatformError("storage_full")
  return null
}

/** Whoever reports a 5xx can name it: one without a request gets an id of its own, which the log has as well. */
export function identified(answer: Answer, newId: () => string): Answer {
  if (answer.status < 500 || typeof answer.body !== "string") return answer
  const parsed = JSON.parse(answer.body) as Record<string, unknown>
  if ("request_id" in parsed) return answer
  const id = answer.headers["x-fal-request-id"] ?? newId()
  const headers = { ...answer.headers, "x-fal-request-id": id }
  return { status: answer.status, headers, body: JSON.stringify({ ...parsed, request_id: id }) }
}

const platformApiTypes: Record<number, string> = {
  400: "validation_error",
  401: "authorization_error",
  403: "authorization_error",
  404: "not_found",
  413: "validation_error",
  429: "rate_limited",
  501: "not_implemented",
}

/** The platform API wraps its errors: `{"error": {type, message, request_id}}`, and a 429 says there when to try again. */
export function asPlatformApiAnswer(answer: Answer, newId: () => string): Answer {
  if (answer.status < 400) return answer
  const id = answer.headers["x-fal-request-id"] ?? newId()
  const retryAfter = answer.headers["retry-after"]
  const type =
    platformApiTypes[answer.status] ?? (answer.status >= 500 ? "server_error" : "validation_error")
  const message = detailOf(answer.body) ?? "Error"
  const error = {
    type,
    message,
    request_id: id,
    ...(retryAfter === undefined ? {} : { retry_after: Number(retryAfter) }),
  }
  const own = { "content-type": "application/json", "x-fal-request-id": id }
  return jsonAnswer(answer.status, { error }, { ...answer.headers, ...own })
}

function detailOf(body: Answer["body"]): string | null {
  const text = body instanceof Uint8Array ? new TextDecoder().decode(body) : body
  const parsed: unknown = typeof text === "string" ? JSON.parse(text) : null
  if (typeof parsed !== "object" || parsed === null || !("detail" in parsed)) return null
  return String(parsed.detail)
}
