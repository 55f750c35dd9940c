import {
  isSignedWebhook,
  webhookHeaders,
  type WebhookKey,
  type WebhookKeySet,
  webhookToleranceSeconds,
} from "@tintype/protocol"

/** A webhook as its receiver got it, and what to judge it by. */
export interface ReceivedWebhook {
  /** A `Headers`, Node's `request.headers`, or any object of names and values. */
  headers: Headers | Record<string, string | readonly string[] | undefined>
  /** The raw body: parsed and written again it would be other bytes. */
  body: Uint8Array | string
  /** The keys themselves. One of `jwks` and `jwksUrl` must be there. */
  jwks?: WebhookKeySet
  /** Where the keys are read, and kept for a day: `https://…/rest/.well-known/jwks.json` */
  jwksUrl?: string | URL
  /** How far the timestamp may be from `now`. */
  toleranceSeconds?: number
  /** Epoch milliseconds; the clock's when it is left out. */
  now?: number
}

export interface VerifiedWebhook {
  requestId: string
  /** Unix seconds. */
  timestamp: number
}

/**
 * `malformed`: a header is missing or is not what it should be. `expired`: too old, or of the future. `bad_signature`: no
 * key vouches for it. `keys_unavailable`: the keys could not be read, so nothing is known.
 */
export type WebhookVerificationCode = "malformed" | "expired" | "bad_signature" | "keys_unavailable"

export class WebhookVerificationError extends Error {
  readonly code: WebhookVerificationCode

  constructor(code: WebhookVerificationCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "WebhookVerificationError"
    this.code = code
  }
}

/**
 * Is this webhook from the server, unchanged and fresh? Deliveries come at least once, so a receiver also remembers the
 * request ids that it has seen. Throws a `WebhookVerificationError`.
 *
 *     const { requestId } = await verifyWebhook({ headers: request.headers, body: rawBody, jwksUrl })
 */
export async function verifyWebhook(received: ReceivedWebhook): Promise<VerifiedWebhook> {
  const { headers, toleranceSeconds = webhookToleranceSeconds, now = Date.now() } = received
  const requestId = readHeader(headers, webhookHeaders.requestId)
  const userId = readHeader(headers, webhookHeaders.userId)
  const timestamp = readHeader(headers, webhookHeaders.timestamp)
  const signature = readHeader(headers, webhookHeaders.signature)
  if (!/^\d{1,12}$/.test(timestamp)) {
    throw new WebhookVerificationError("malformed", `${webhookHeaders.timestamp} is no timestamp`)
  }
  const ageSeconds = Math.floor(now / 1_000) - Number(timestamp)
  // Turned round, a tolerance that is not a number would let everything pass.
  if (!(Math.abs(ageSeconds) <= toleranceSeconds)) {
    const message = `The timestamp is ${ageSeconds} s old; ${toleranceSeconds} s are allowed`
    throw new WebhookVerificationError("expired", message)
  }
  const body =
    typeof received.body === "string" ? new TextEncoder().encode(received.body) : received.body
  const signed = { requestId, userId, timestamp, body }
  for await (const keys of keySets(received, now)) {
    if (await isSignedWebhook(signed, signature, keys)) {
      return { requestId, timestamp: Number(timestamp) }
    }
  }
  throw new WebhookVerificationError("bad_signature", "No key vouches for this webhook")
}

function readHeader(headers: ReceivedWebhook["headers"], name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : findHeader(headers, name)
  if (typeof value === "string" && value !== "") return value
  throw new WebhookVerificationError("malformed", `The header ${name} is missing or repeated`)
}

function findHeader(headers: Exclude<ReceivedWebhook["headers"], Headers>, name: string): unknown {
  const found = Object.entries(headers).filter(([key]) => key.toLowerCase() === name)
  const values = found.flatMap(([, value]) => value ?? [])
  return values.length === 1 ? values[0] : undefined
}

interface KnownKeys {
  keys: WebhookKey[]
  readAt: number
}

const knownKeysMaxAgeMs = 24 * 60 * 60 * 1_000
/** Keys that a signature does not fit may be old; then they are read again, but not for every forgery. */
const rereadEveryMs = 60_000
const knownUrlsMax = 32
const keyTimeoutMs = 10_000
const keySetCharactersMax = 65_536
const keysMax = 32

const known = new Map<string, KnownKeys>()
const underWay = new Map<string, Promise<KnownKeys>>()

/** The keys to try, the known ones first: a server that changed its key must not be refused for a day. */
async function* keySets(
  { jwks, jwksUrl }: ReceivedWebhook,
  now: number,
): AsyncGenerator<WebhookKey[]> {
  if (jwks !== undefined) {
    yield jwks.keys.slice(0, keysMax)
    return
  }
  if (jwksUrl === undefined) throw new TypeError("verifyWebhook needs jwks or jwksUrl")
  const url = String(jwksUrl)
  const before = known.get(url)
  const ageMs = before === undefined ? Infinity : Math.abs(now - before.readAt)
  if (before !== undefined && ageMs < knownKeysMaxAgeMs) {
    yield before.keys
    if (ageMs < rereadEveryMs) return
  }
  yield (await readKeys(url, now)).keys
}

async function readKeys(url: string, now: number): Promise<KnownKeys> {
  const reading = underWay.get(url) ?? fetchKeys(url, now)
  underWay.set(url, reading)
  try {
    const read = await reading
    known.delete(url)
    known.set(url, read)
    const [oldest] = known.keys()
    if (known.size > knownUrlsMax && oldest !== undefined) known.delete(oldest)
    return read
  } finally {
    underWay.delete(url)
  }
}

async function fetchKeys(url: string, now: number): Promise<KnownKeys> {
  try {
    const signal = AbortSignal.timeout(keyTimeoutMs)
    const response = await fetch(url, { signal, headers: { accept: "application/json" } })
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    const text = await readText(response)
    return { keys: toKeys(JSON.parse(text)), readAt: now }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    const message = `The keys at ${new URL(url).origin} could not be read: ${why}`
    throw new WebhookVerificationError("keys_unavailable", message, { cause: error })
  }
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let text = ""
  for (;;) {
    const chunk = await reader?.read()
    if (chunk === undefined || chunk.done) return text + decoder.decode()
    text += decoder.decode(chunk.value, { stream: true })
    if (text.length <= keySetCharactersMax) continue
    await reader?.cancel()
    throw new Error("the answer is too long")
  }
}

function toKeys(parsed: unknown): WebhookKey[] {
  const keys: unknown = typeof parsed === "object" && parsed !== null && Reflect.get(parsed, "keys")
  if (!Array.isArray(keys)) throw new Error("the answer is no set of keys")
  return keys.filter(isWebhookKey).slice(0, keysMax)
}

function isWebhookKey(key: unknown): key is WebhookKey {
  if (typeof key !== "object" || key === null) return false
  const { kty, crv, x } = key as Partial<Record<keyof WebhookKey, unknown>>
  return kty === "OKP" && crv === "Ed25519" && typeof x === "string"
}
