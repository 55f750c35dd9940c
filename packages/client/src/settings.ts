import { findForeignSurface } from "@tintype/protocol"

/** A key as `id:secret`, or a whole `Authorization` such as `Bearer …`; a function is asked before every call. */
export type Credentials = string | (() => string | null | Promise<string | null>)

export interface RetryOptions {
  /** Tries of one call, the first included; default 4. 1: none is repeated. */
  triesMax?: number
  /** Before the second try; doubled before each later one, up to the maximum, with jitter. */
  delayMs?: number
  delayMaxMs?: number
}

export interface ClientOptions {
  /**
   * A Tintype server, default `http://127.0.0.1:3250`, or the hosted service: any of its hosts, `https://fal.run`. A path is
   * kept: `https://example.com/tintype`.
   */
  url?: string | URL
  /** None for a server in open mode, or behind a proxy that adds them. */
  credentials?: Credentials
  fetch?: typeof globalThis.fetch
  /** For realtime, where the runtime has none (Node 20): the class of the package `ws` will do. */
  webSocket?: WebSocketClass
  /** `false`: no call is made twice. */
  retry?: RetryOptions | false
  /** Default of every call's `timeoutMs`: from its start to its result. Without one a call takes as long as it takes. */
  timeoutMs?: number
}

/** What is used of a WebSocket. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  readonly readyState: number
  send(data: string | ArrayBufferView<ArrayBuffer>): void
  close(code?: number, reason?: string): void
  addEventListener(type: string, listener: (event: WebSocketEvent) => void): void
}

export interface WebSocketEvent {
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
}

export type WebSocketClass = new (url: string) => WebSocketLike

/** The options, with everything decided that they left open. */
export interface Settings {
  /** Where each surface is, without a slash at the end. */
  run: string
  queue: string
  rest: string
  /**
   * It knows idempotency keys, so that a call whose answer is lost can be made again. The hosted service does not: there a
   * submit that is sent again is another request, and paid for again.
   */
  knowsKeys: boolean
  authorization(): Promise<string | null>
  fetch: typeof globalThis.fetch
  webSocket: WebSocketClass | null
  retry: Required<RetryOptions>
  timeoutMs: number | null
}

const defaultUrl = "http://127.0.0.1:3250"
const retryDefault: Required<RetryOptions> = { triesMax: 4, delayMs: 500, delayMaxMs: 30_000 }

export function readSettings(options: ClientOptions): Settings {
  const { credentials, retry = {}, timeoutMs = null } = options
  const webSocket = options.webSocket ?? (globalThis as { WebSocket?: WebSocketClass }).WebSocket
  return {
    ...readBases(options.url ?? defaultUrl),
    authorization: async () => {
      const given = typeof credentials === "function" ? await credentials() : credentials
      return given === null || given === undefined || given === "" ? null : withScheme(given)
    },
    // Looked up at every call: a test or a tracer may replace the global one later.
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    webSocket: webSocket ?? null,
    retry: retry === false ? { ...retryDefault, triesMax: 1 } : { ...retryDefault, ...retry },
    timeoutMs,
  }
}

/** Of the hosted service every surface has a host; a server of one's own has one, and prefixes. */
export function readBases(
  address: string | URL,
): Pick<Settings, "run" | "queue" | "rest" | "knowsKeys"> {
  const url = new URL(address)
  if (!/^https?:$/.test(url.protocol)) {
    throw new TypeError(`${url.href} is not an http:// or https:// address`)
  }
  const surface = findForeignSurface(url.hostname)
  if (surface === "unknown") throw new TypeError(`${url.hostname} is no host that can be called`)
  if (surface !== null) {
    return {
      run: "https://fal.run",
      queue: "https://queue.fal.run",
      rest: "https://rest.fal.ai",
      knowsKeys: false,
    }
  }
  const base = `${url.origin}${url.pathname.replace(/\/+$/, "")}`
  return { run: `${base}/run`, queue: `${base}/queue`, rest: `${base}/rest`, knowsKeys: true }
}

function withScheme(credentials: string): string {
  return /^\S+ /.test(credentials) ? credentials : `Key ${credentials}`
}
