import { platformErrorAnswer, type PlatformErrorType, responseHeaders } from "@tintype/protocol"
import type { AttemptResult, Body, Outcome } from "./request.ts"

/** The outcome of a request that ends without an answer of the app. */
export function platformOutcome(
  type: PlatformErrorType,
  requestId: string,
  detail?: string,
  inferenceMs: number | null = null,
): Outcome {
  const answer = platformErrorAnswer(type, detail, { requestId })
  return {
    status: answer.status,
    headers: answer.headers,
    body: { inline: answer.body },
    error: answer.detail,
    errorType: type,
    inferenceMs,
  }
}

/** The outcome of an attempt whose app answered, with whatever status: it reaches the caller verbatim. */
export function answeredOutcome(result: Extract<AttemptResult, { kind: "answered" }>): Outcome {
  const succeeded = isSuccess(result.status)
  return {
    status: result.status,
    headers: result.headers,
    body: result.body,
    error: succeeded ? null : errorText(result.status, result.body),
    errorType: succeeded
      ? null
      : (result.headers["x-fal-error-type"] ?? errorTypeOf(result.status)),
    inferenceMs: result.inferenceMs,
  }
}

/**
 * The same, for a caller who has to repeat its call itself, as the platform does not: a temporary failure is marked as
 * one, unless the app has its own word on it.
 */
export function repeatable(outcome: Outcome): Outcome {
  const { retryable, needsRetry } = responseHeaders
  return { ...outcome, headers: { [retryable]: "true", [needsRetry]: "1", ...outcome.headers } }
}

/** Of an answer that names no type of its own: below 500 it is the caller who can change something. */
function errorTypeOf(status: number): PlatformErrorType {
  return status < 500 ? "bad_request" : "runner_server_error"
}

/** A redirect is an answer like any other: it is passed through unfollowed. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status < 400
}

const errorTextMax = 1_000

/** The `error` of a COMPLETED status: what a person would want to read of the body. */
function errorText(status: number, body: Body): string {
  const fallback = `The app answered with status ${status}`
  if (!("inline" in body)) return fallback
  const text = Buffer.from(body.inline).toString()
  return (detailOf(text) ?? fallback).slice(0, errorTextMax)
}

function detailOf(text: string): string | null {
  let parsed: unknown = null
  try {
    parsed = JSON.parse(text)
  } catch {
    // What is no JSON names no detail.
  }
  if (typeof parsed !== "object" || parsed === null || !("detail" in parsed)) return null
  const { detail } = parsed
  if (typeof detail === "string") return detail
  if (!Array.isArray(detail)) return JSON.stringify(detail)
  return detail.map(describeItem).join("; ")
}

/** `{"loc":["body","seed"],"msg":"Field required"}` → `seed: Field required` */
function describeItem(item: unknown): string {
  if (typeof item !== "object" || item === null) return String(item)
  const { loc, msg } = item as { loc?: unknown; msg?: unknown }
  const text = typeof msg === "string" ? msg : JSON.stringify(item)
  if (!Array.isArray(loc)) return text
  const field = loc.filter((part) => part !== "body").join(".")
  return field === "" ? text : `${field}: ${text}`
}
