import { requestHeaders } from "@tintype/protocol"
import type { IdempotencyKey } from "./transport/send.ts"
import { makeKey } from "./transport/send.ts"
import type { Settings } from "./settings.ts"

/** Of every call. */
export interface CallOptions {
  /** Aborted, the call rejects with the signal's reason. */
  signal?: AbortSignal
  /** From the start of the call to its result; then it rejects with a `TimeoutError`. Default: the client's. */
  timeoutMs?: number
}

/** Of what makes a request. */
export interface RequestOptions<Taken> extends CallOptions {
  /** Every `Blob` in it is uploaded, and its URL sent instead. */
  input: Taken
  /** The request ends unless it has started by then. */
  startTimeoutMs?: number
  /** Of the platform's own attempts there is one. */
  noRetry?: boolean
  /** `false`: neither input nor result are kept longer than needed. */
  storeIo?: boolean
  /**
   * Calls with the same key and input are one request. Without one every call has its own, so that a call whose answer is lost is
   * made again without doing the work again. `null`: none is sent, and such a call fails.
   */
  idempotencyKey?: string | null
  /** Sent along; what does not begin with `x-fal-` reaches the app. */
  headers?: Record<string, string>
}

/** Where a file goes when it is over, and who may read it. */
export interface FileLifecycle {
  /** Null: never. */
  expiresInSeconds?: number | null
  acl?: {
    default?: "allow" | "forbid" | "hide"
    rules?: { user: string; decision: "allow" | "forbid" | "hide" }[]
  }
}

export function requestHeadersOf(options: RequestOptions<unknown>): Record<string, string> {
  const { startTimeoutMs, noRetry, storeIo } = options
  return {
    "content-type": "application/json",
    ...(startTimeoutMs === undefined
      ? {}
      : { [requestHeaders.startTimeout]: String(startTimeoutMs / 1_000) }),
    ...(noRetry === true ? { [requestHeaders.noRetry]: "1" } : {}),
    ...(storeIo === false ? { [requestHeaders.storeIo]: "0" } : {}),
    ...options.headers,
  }
}

/** Null: the server would know no key, or the caller wants none. */
export function keyFor(
  { knowsKeys }: Settings,
  { idempotencyKey: asked }: Pick<RequestOptions<unknown>, "idempotencyKey">,
): IdempotencyKey | null {
  if (!knowsKeys || asked === null) return null
  return asked === undefined ? { value: makeKey(), own: false } : { value: asked, own: true }
}

/** `X-Fal-Object-Lifecycle`, as the API writes it. */
export function lifecycleText({ expiresInSeconds, acl }: FileLifecycle): string {
  return JSON.stringify({
    ...(expiresInSeconds === undefined ? {} : { expiration_duration_seconds: expiresInSeconds }),
    ...(acl === undefined ? {} : { initial_acl: acl }),
  })
}
