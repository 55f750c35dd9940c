import { responseHeaders } from "@tintype/protocol"
import { ApiError, TimeoutError, toApiError, TransportError } from "../errors.ts"
import type { Settings } from "../settings.ts"
import { sleep, withDeadline } from "./deadline.ts"
import { delayBefore, type Repeatable } from "./retry.ts"

export interface HttpCall<T> extends Repeatable {
  method: "GET" | "POST" | "PUT"
  url: string
  headers?: Record<string, string>
  body?: string | Blob
  signal: AbortSignal
  /** One try may take so long until it is read; null: as long as the work behind it. */
  tryMs: number | null
  /** By which the server knows the call again. */
  key?: IdempotencyKey | null
  /** The call carries its own authority, and none of ours. */
  withoutCredentials?: boolean
  /** An error that cannot change: it is what became of a request. */
  isFinal?: (error: ApiError) => boolean
  read(response: Response): Promise<T>
}

/** Of a submit: the caller's own, or one that was made for it. */
export interface IdempotencyKey {
  value: string
  own: boolean
}

/** Makes the call, again where that is safe and may help; throws the last failure. */
export async function send<T>(settings: Settings, call: HttpCall<T>): Promise<T> {
  const key = call.key ?? null
  for (let next = 2; ; next += 1) {
    try {
      return await tryOnce(settings, call)
    } catch (failure) {
      call.signal.throwIfAborted()
      if (failure instanceof ApiError && isOver(call, failure)) throw failure
      const delayMs = delayBefore(next, failure, call, settings.retry)
      if (delayMs === null) throw failure
      await sleep(delayMs, call.signal)
      // The server told what became of that request; under the same key it would tell it again.
      if (key !== null && failure instanceof ApiError && failure.requestId !== null) {
        key.value = makeKey()
      }
    }
  }
}

function isOver({ key, isFinal }: HttpCall<unknown>, failure: ApiError): boolean {
  if (isFinal?.(failure) === true) return true
  return key?.own === true && failure.requestId !== null
}

async function tryOnce<T>(settings: Settings, call: HttpCall<T>): Promise<T> {
  try {
    // Without a limit of its own a body may be read on after this; the caller's signal ends that, too.
    if (call.tryMs === null) return await exchange(settings, call, call.signal)
    const limits = { signal: call.signal, timeoutMs: call.tryMs }
    return await withDeadline(limits, (signal) => exchange(settings, call, signal))
  } catch (cause) {
    if (cause instanceof ApiError) throw cause
    // The caller's own end, or that of the whole call, is told as it is.
    call.signal.throwIfAborted()
    const why =
      cause instanceof TimeoutError ? `no answer within ${cause.timeoutMs} ms` : reasonOf(cause)
    throw new TransportError(`${call.method} ${originOf(call.url)} failed: ${why}`, { cause })
  }
}

async function exchange<T>(settings: Settings, call: HttpCall<T>, signal: AbortSignal): Promise<T> {
  const { method, url, body } = call
  const headers = await headersOf(settings, call)
  const init = { method, headers, signal, ...(body === undefined ? {} : { body }) }
  const response = await settings.fetch(url, init)
  if (response.ok) return await call.read(response)
  const { status } = response
  throw toApiError({ status, headers: response.headers, body: await readAny(response) })
}

async function headersOf(settings: Settings, call: HttpCall<unknown>): Promise<Headers> {
  const headers = new Headers(call.headers)
  if (call.withoutCredentials !== true && !headers.has("authorization")) {
    const authorization = await settings.authorization()
    if (authorization !== null) headers.set("authorization", authorization)
  }
  if (call.key !== null && call.key !== undefined) headers.set("idempotency-key", call.key.value)
  return headers
}

/** 128 random bits. Not `randomUUID`, which pages that came over plain HTTP do not have. */
export function makeKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Node tells the reason in the cause. Queries may hold a token, so no URL is told whole. */
function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  return inner instanceof Error ? inner.message || inner.name : String(inner)
}

function originOf(url: string): string {
  return new URL(url).origin
}

/** The body as its type says: JSON parsed, text as text, anything else as bytes. */
export async function readAny(response: Response): Promise<unknown> {
  const type = response.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase() ?? ""
  if (type === "application/json" || type.endsWith("+json")) {
    const text = await response.text()
    try {
      return JSON.parse(text) as unknown
    } catch {
      return text
    }
  }
  if (type.startsWith("text/")) return await response.text()
  return new Uint8Array(await response.arrayBuffer())
}

/** What an endpoint has answered. */
export interface Result<Output> {
  data: Output
  requestId: string
  /** What the app says it costs, in units of its own; null when it says nothing. */
  billableUnits: number | null
  headers: Headers
}

export async function readResult<Output>(response: Response): Promise<Result<Output>> {
  const { headers } = response
  const units = headers.get(responseHeaders.billableUnits)
  return {
    data: (await readAny(response)) as Output,
    requestId: headers.get(responseHeaders.requestId) ?? "",
    billableUnits: units === null || Number.isNaN(Number(units)) ? null : Number(units),
    headers,
  }
}
