/**
 * How a webhook is signed, for both sides: Ed25519 over four lines of text, with WebCrypto alone, so that it runs in Node,
 * browsers and edge runtimes. Source: the webhook pages of the public documentation.
 */

/** What a signature vouches for. */
export interface SignedWebhook {
  requestId: string
  userId: string
  /** Unix seconds, decimal, as in the header. */
  timestamp: string
  /** As sent, byte for byte. */
  body: Uint8Array
}

/** A public key, as `/.well-known/jwks.json` lists it. */
export interface WebhookKey {
  kty: "OKP"
  crv: "Ed25519"
  /** 32 bytes, base64url. */
  x: string
  kid?: string
}

/** With the private half, base64url too. */
export interface WebhookKeyPair extends WebhookKey {
  d: string
}

export interface WebhookKeySet {
  keys: WebhookKey[]
}

/** Header names are lower case. */
export const webhookHeaders = {
  requestId: "x-fal-webhook-request-id",
  userId: "x-fal-webhook-user-id",
  timestamp: "x-fal-webhook-timestamp",
  signature: "x-fal-webhook-signature",
} as const

/** A receiver refuses a timestamp that is further from its own clock. */
export const webhookToleranceSeconds = 300

const algorithm = { name: "Ed25519" }

/** What is signed: id, user, timestamp and the body's SHA-256 in lower-case hex, each on a line of its own. */
export function webhookText(signed: Omit<SignedWebhook, "body">, sha256: string): string {
  return [signed.requestId, signed.userId, signed.timestamp, sha256].join("\n")
}

/** Its bytes. */
export async function webhookMessage(signed: SignedWebhook): Promise<Uint8Array<ArrayBuffer>> {
  const digest = await crypto.subtle.digest("SHA-256", owned(signed.body))
  return new TextEncoder().encode(webhookText(signed, toHex(new Uint8Array(digest))))
}

/** A new key pair; `kid` is the beginning of its public half. */
export async function makeWebhookKey(): Promise<WebhookKeyPair> {
  const pair = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])
  if (!("privateKey" in pair)) throw new TypeError("Ed25519 did not make a pair of keys")
  const { x, d } = await crypto.subtle.exportKey("jwk", pair.privateKey)
  if (x === undefined || d === undefined) throw new TypeError("Ed25519 made half a key")
  return { kty: "OKP", crv: "Ed25519", x, d, kid: x.slice(0, 16) }
}

/** Hex of the 64-byte signature. Rejects when the key is not one. */
export async function signWebhook(signed: SignedWebhook, key: WebhookKeyPair): Promise<string> {
  const { kty, crv, x, d } = key
  const jwk = { kty, crv, x, d }
  const imported = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"])
  const message = await webhookMessage(signed)
  return toHex(new Uint8Array(await crypto.subtle.sign(algorithm, imported, message)))
}

/** Does one of the keys vouch for it? The headers name no key, so each is tried; one that is no Ed25519 key is passed over. */
export async function isSignedWebhook(
  signed: SignedWebhook,
  signature: string,
  keys: readonly WebhookKey[],
): Promise<boolean> {
  const bytes = fromHex(signature)
  if (bytes === null) return false
  const message = await webhookMessage(signed)
  for (const key of keys) {
    if (await isSignedBy(key, bytes, message)) return true
  }
  return false
}

async function isSignedBy(
  { kty, crv, x }: WebhookKey,
  signature: Uint8Array<ArrayBuffer>,
  message: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  try {
    const jwk = { kty, crv, x }
    const key = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"])
    return await crypto.subtle.verify(algorithm, key, signature, message)
  } catch {
    return false
  }
}

const signatureBytes = 64

function fromHex(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[0-9a-f]*$/i.test(text) || text.length !== signatureBytes * 2) return null
  const bytes = new Uint8Array(signatureBytes)
  for (let index = 0; index < signatureBytes; index += 1) {
    bytes[index] = Number.parseInt(text.slice(index * 2, index * 2 + 2), 16)
  }
  return bytes
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** WebCrypto takes no view on a buffer that is shared. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer
    ? (bytes as Uint8Array<ArrayBuffer>)
    : new Uint8Array(bytes)
}
