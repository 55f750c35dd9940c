/** Names of headers, and which of them pass between caller and app. All in lower case, as Node gives them. */

/** What a caller may ask of the platform. */
export const requestHeaders = {
  /** Seconds, the deadline for the start; the newer name wins over `requestTimeout`. */
  startTimeout: "x-fal-request-start-timeout",
  requestTimeout: "x-fal-request-timeout",
  /** `normal` or `low`. */
  queuePriority: "x-fal-queue-priority",
  runnerHint: "x-fal-runner-hint",
  noRetry: "x-fal-no-retry",
  retryConfig: "x-fal-retry-config",
  storeIo: "x-fal-store-io",
  lifecyclePreference: "x-fal-object-lifecycle-preference",
  disableFallback: "x-app-fal-disable-fallback",
  disableFallbacks: "x-fal-disable-fallbacks",
  tags: "x-fal-tags",
  cdnToken: "x-fal-cdn-token",
  canDisableFilter: "x-app-fal-can-disable-filter",
  clientProxy: "x-fal-client-proxy",
  targetUrl: "x-fal-target-url",
  prefer: "prefer",
} as const

/** What an answer tells. */
export const responseHeaders = {
  requestId: "x-fal-request-id",
  billableUnits: "x-fal-billable-units",
  servedFrom: "x-fal-served-from",
  /** `user` on a 504: the caller's own deadline passed; nobody repeats it. */
  requestTimeoutType: "x-fal-request-timeout-type",
  errorType: "x-fal-error-type",
  retryable: "x-fal-retryable",
  needsRetry: "x-fal-needs-retry",
  runnerHints: "x-fal-runner-hints",
  cdnToken: "x-fal-cdn-token",
  preferenceApplied: "preference-applied",
  /** `1`: this call was taken for a blind re-send, and answers for the one whose answer was lost. */
  resubmission: "x-tintype-resubmission",
  retryAfter: "retry-after",
} as const

/** Between the gateway and an app: what it gets in, and what it may order in its answer. */
export const appHeaders = {
  requestId: "x-fal-request-id",
  endpoint: "x-fal-endpoint",
  callerUserId: "x-fal-caller-user-id",
  stopRunner: "x-fal-stop-runner",
  runnerHealthCheck: "x-fal-runner-health-check",
} as const

/** Shortest start deadline that a caller can set, in milliseconds. */
export const startTimeoutMsMin = 100
/** A deadline further away is none that anyone could tell from it. */
const startTimeoutMsMax = 10 * 365 * 24 * 3_600_000

/**
 * How long a caller gives its request to start, in milliseconds; null when it does not say, or says it malformed. The
 * newer of the two headers wins.
 *
 *     parseStartTimeout({ "x-fal-request-timeout": "30.0" }) // 30000
 */
export function parseStartTimeout(
  headers: Record<string, string | string[] | undefined>,
): number | null {
  const { startTimeout, requestTimeout } = requestHeaders
  return parseSeconds(headers[startTimeout] ?? headers[requestTimeout])
}

function parseSeconds(value: string | string[] | undefined): number | null {
  const text = typeof value === "string" ? value.trim() : ""
  if (!/^(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i.test(text)) return null
  const milliseconds = Math.round(Number(text) * 1_000)
  if (milliseconds < startTimeoutMsMin) return null
  return Math.min(milliseconds, startTimeoutMsMax)
}

/** Of a header that says yes or no: `1`, `true`, `yes`, or `0`, `false`, `no`; null for anything else. */
export function parseFlag(value: string | string[] | undefined): boolean | null {
  const word = typeof value === "string" ? value.trim().toLowerCase() : ""
  if (["1", "true", "yes"].includes(word)) return true
  return ["0", "false", "no"].includes(word) ? false : null
}

/** Longest wait that `Prefer` can ask for, in seconds. */
export const preferWaitMax = 60

/**
 * The `wait` of a `Prefer` header (RFC 7240), in whole seconds up to `preferWaitMax`; null when it asks for none.
 * Other preferences are passed over, and the first `wait` counts.
 *
 *     parsePrefer("respond-async, wait=30") // 30
 */
export function parsePrefer(value: string | null | undefined): number | null {
  for (const preference of splitPreferences(value ?? "")) {
    const [name = "", text = ""] = preference.split(";", 1)[0]!.split("=", 2)
    if (name.trim().toLowerCase() !== "wait") continue
    const seconds = /^(?:"(\d+)"|(\d+))$/.exec(text.trim())
    return seconds === null ? null : Math.min(Number(seconds[1] ?? seconds[2]), preferWaitMax)
  }
  return null
}

/** At commas outside of quoted strings. */
function splitPreferences(value: string): string[] {
  return value.slice(0, 1_024).match(/(?:"(?:[^"\\]|\\.)*"|[^,"]|")+/g) ?? []
}

const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** Of the caller's connection and credentials, not of its call. */
const callersOwn = new Set([
  "authorization",
  "cookie",
  "host",
  "content-length",
  "expect",
  // The answer is kept and may be read by another call, which could not read what this one accepts.
  "accept-encoding",
  "forwarded",
  "via",
])

const callersOwnPrefixes = ["x-fal-", "x-tintype-", "x-forwarded-", "sec-websocket-"]

/** True for a request header that never reaches an app; what the platform tells it, the gateway adds itself. */
export function strippedFromCaller(name: string): boolean {
  const lower = name.toLowerCase()
  if (!isHeaderName(lower) || hopByHop.has(lower) || callersOwn.has(lower)) return true
  return callersOwnPrefixes.some((prefix) => lower.startsWith(prefix))
}

/** What would let an app act for the whole origin, or break the framing of the answer. */
const platformsOwn = new Set([
  "set-cookie",
  "strict-transport-security",
  "clear-site-data",
  "service-worker-allowed",
  "content-length",
  responseHeaders.requestId,
  appHeaders.stopRunner,
  appHeaders.runnerHealthCheck,
])

const platformsOwnPrefixes = ["content-security-policy", "access-control-", "x-tintype-"]

/**
 * True for a header of an app's answer that may reach the caller. Given the answer's status, `x-fal-needs-retry`
 * passes only where it means something: 5xx and 429.
 */
export function allowedFromApp(name: string, status?: number): boolean {
  const lower = name.toLowerCase()
  if (!isHeaderName(lower) || hopByHop.has(lower) || platformsOwn.has(lower)) return false
  if (lower === responseHeaders.needsRetry && status !== undefined)
    return status >= 500 || status === 429
  return !platformsOwnPrefixes.some((prefix) => lower.startsWith(prefix))
}

/** RFC 9110 token. `__proto__` is one, but no map of headers survives it. */
function isHeaderName(lower: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9a-z-]{1,256}$/.test(lower) && lower !== "__proto__"
}
