import { isPlatformErrorType, platformErrors, responseHeaders } from "@tintype/protocol"

/** Whatever this client throws of its own; an abort throws the reason of its signal, as `fetch` does. */
export class TintypeError extends Error {
  /** To tell errors apart by: an error type of the platform, or `timeout`, `transport`, `realtime` … */
  readonly code: string
  /** Of the request that it is about, when one is known: its result can still be fetched. */
  readonly requestId: string | null

  constructor(
    code: string,
    message: string,
    { requestId = null, ...options }: ErrorOptions & { requestId?: string | null } = {},
  ) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.requestId = requestId
  }
}

/** The call, or the request that was waited for, took longer than `timeoutMs`. */
export class TimeoutError extends TintypeError {
  readonly timeoutMs: number

  constructor(timeoutMs: number, requestId: string | null = null) {
    super("timeout", `Not done within ${timeoutMs} ms`, { requestId })
    this.timeoutMs = timeoutMs
  }
}

/** No answer: the server could not be reached, or the connection ended, and sending it again did not help or was not safe. */
export class TransportError extends TintypeError {
  constructor(message: string, options: ErrorOptions & { requestId?: string | null } = {}) {
    super("transport", message, options)
  }
}

/** A realtime connection was ended by the server, or could not be made. */
export class RealtimeError extends TintypeError {
  /** Of the WebSocket's close; null for what the server said in a message. */
  readonly closeCode: number | null

  constructor(code: string, message: string, closeCode: number | null = null) {
    super(code, message)
    this.closeCode = closeCode
  }
}

export interface ApiErrorFacts {
  status: number
  /** Parsed when it was JSON, else text. */
  body: unknown
  headers: Headers
}

/** The server answered an error, its own or the app's. */
export class ApiError extends TintypeError {
  readonly status: number
  readonly body: unknown
  readonly headers: Headers
  /** `error_type`: of the platform (docs/reference/errors.md); null for an error of the app. */
  readonly errorType: string | null
  /** The same call may succeed when it is made again. */
  readonly retryable: boolean
  /** When the server says after how long. */
  readonly retryAfterMs: number | null

  constructor({ status, body, headers }: ApiErrorFacts) {
    const errorType = textOf(body, "error_type") ?? headers.get(responseHeaders.errorType)
    super(errorType ?? `http_${status}`, messageOf(status, body), {
      requestId: headers.get(responseHeaders.requestId),
    })
    this.status = status
    this.body = body
    this.headers = headers
    this.errorType = errorType
    this.retryable = isRetryable(status, errorType, headers)
    this.retryAfterMs = readRetryAfter(headers.get(responseHeaders.retryAfter))
  }

  /** The caller's own deadline for the start had passed. */
  get isStartTimeout(): boolean {
    return this.status === 504 && this.headers.get(responseHeaders.requestTimeoutType) === "user"
  }
}

/** One thing that is wrong with an input. */
export interface ValidationIssue {
  /** Where: `["body", "image_size", "width"]`. */
  loc: (string | number)[]
  msg: string
  type: string
  ctx?: Record<string, unknown>
  input?: unknown
}

/** 422: the app did not take the input. */
export class ValidationError extends ApiError {
  readonly issues: ValidationIssue[]

  constructor(facts: ApiErrorFacts) {
    super(facts)
    this.issues = issuesOf(facts.body)
  }

  /** Of one field, by its path below the input: `image_size.width`. */
  issuesOf(field: string): ValidationIssue[] {
    return this.issues.filter(({ loc }) => loc.slice(1).join(".") === field)
  }
}

export function toApiError(facts: ApiErrorFacts): ApiError {
  const isInvalid = facts.status === 422 && issuesOf(facts.body).length > 0
  return isInvalid ? new ValidationError(facts) : new ApiError(facts)
}

/** Where the server says nothing: what proxies answer for a server that is away or busy. */
const retryableStatuses = [429, 502, 503, 504]

function isRetryable(status: number, errorType: string | null, headers: Headers): boolean {
  if (headers.get(responseHeaders.requestTimeoutType) === "user") return false
  const said = headers.get(responseHeaders.retryable) ?? headers.get(responseHeaders.needsRetry)
  if (said !== null) return said === "true" || said === "1"
  if (errorType !== null && isPlatformErrorType(errorType)) {
    return platformErrors[errorType].retryable
  }
  return retryableStatuses.includes(status)
}

/** Seconds, or a date. */
function readRetryAfter(text: string | null): number | null {
  if (text === null) return null
  if (/^\d+(\.\d+)?$/.test(text.trim())) return Number(text) * 1_000
  const at = Date.parse(text)
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now())
}

function messageOf(status: number, body: unknown): string {
  const issues = issuesOf(body)
  if (issues.length > 0) {
    return issues.map(({ loc, msg }) => `${loc.slice(1).join(".") || "input"}: ${msg}`).join("; ")
  }
  const error = isRecord(body) && isRecord(body["error"]) ? body["error"] : body
  const text = textOf(body, "detail") ?? textOf(error, "message")
  return text ?? `The server answered ${status}`
}

function issuesOf(body: unknown): ValidationIssue[] {
  const detail = isRecord(body) ? body["detail"] : undefined
  if (!Array.isArray(detail)) return []
  return detail.filter(
    (item): item is ValidationIssue =>
      isRecord(item) && Array.isArray(item["loc"]) && typeof item["msg"] === "string",
  )
}

function textOf(body: unknown, key: string): string | null {
  const value = isRecord(body) ? body[key] : undefined
  return typeof value === "string" ? value : null
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
