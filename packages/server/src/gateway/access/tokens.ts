import { createHmac } from "node:crypto"
import { type EndpointId, parseEndpointId, parseQueuePath } from "@tintype/protocol"
import type { Address } from "../address.ts"
import type { Refusal } from "../open-mode.ts"
import type { Gateway, GatewayParts } from "../parts.ts"
import { type Caller, mayCall } from "./caller.ts"
import { localAccount } from "./key-ring.ts"

/**
 * Tokens: what a server of someone's own gives to its pages, so that they call an app for a while without its key. A token is
 * signed, nothing of it is stored: what it opens, until when, and whose key made it stand in it. It is for a WebSocket, a
 * stream and a status stream, where a browser can send no header; it makes no other token and is nothing on any other route.
 */

/** What a token stands for, beside its end. */
export interface Grant {
  account: string
  /** The key that made it, with which it dies; null: open mode, with which it ends as well. */
  key: string | null
  /** Each an alias, for whatever is called of the apps of that name, or an endpoint with its path, for that alone. */
  apps: readonly string[]
}

export const tokenParameter = "fal_jwt_token"

const algorithm = "HS256"
const issuer = "tintype"
const audience = "tintype:apps"
/** What mints refuse to make is not looked at. */
const tokenLengthMax = 8 * 1_024

/** Signs a token for `seconds` from now. */
export async function mintToken(
  parts: Pick<GatewayParts, "config" | "now" | "tokenSecret">,
  { account, key, apps }: Grant,
  seconds: number,
): Promise<string> {
  // Loaded here and below: most servers never see a token, and none sees one while it starts.
  const { SignJWT } = await import("jose")
  const now = Math.floor(parts.now() / 1_000)
  return await new SignJWT({ apps: [...apps], ...(key === null ? {} : { key }) })
    .setProtectedHeader({ alg: algorithm })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(account)
    .setIssuedAt(now)
    .setExpirationTime(now + seconds)
    .sign(signingSecret(parts))
}

/**
 * Who calls the endpoint with this token, or why it opens nothing. The endpoint is the one that is called, with its `/realtime`
 * or `/stream`. Also in open mode, which takes any key, a token must be a good one: there a program is tried out, and one whose
 * token is for another app, or too old, should learn it there.
 *
 *     const caller = await identifyByToken(gateway, token, parseEndpointId(address.path))
 */
export async function identifyByToken(
  gateway: Gateway,
  token: string,
  endpoint: EndpointId,
): Promise<Caller | Refusal> {
  const grant = await readToken(gateway.parts, token)
  if ("status" in grant) return grant
  const caller = await holderOf(gateway, grant)
  if (caller === null) {
    return { status: 401, detail: "The key that this token was made with is no longer valid" }
  }
  if (!grant.apps.some((app) => app === endpoint.alias || app === endpoint.id)) {
    const allowed = grant.apps.join(", ").slice(0, 200)
    return { status: 403, detail: `This token is for ${allowed}, not for ${endpoint.id}` }
  }
  const app = await gateway.apps.find(endpoint.app)
  // An unknown app is for its door to refuse, with the nearest.
  if (app === null || mayCall(caller, app)) return caller
  const why = "It is private to its owner."
  return { status: 403, detail: `Cannot access application "${endpoint.app}". ${why}` }
}

/** The token of a call and what it calls; null where tokens are nothing, or where the caller shows a key as well. */
export function findToken(
  { surface, path, query }: Address,
  method: string,
  authorization: string | undefined,
): { token: string; endpoint: EndpointId } | null {
  const token = query.get(tokenParameter)
  if (token === null || authorization !== undefined) return null
  const endpoint = streamedEndpoint(surface, path, method)
  return endpoint === null ? null : { token, endpoint }
}

function streamedEndpoint(
  surface: Address["surface"],
  path: string,
  method: string,
): EndpointId | null {
  if (surface === "run" && method === "POST") {
    const endpoint = parseEndpointId(path)
    return endpoint?.path.endsWith("/stream") === true ? endpoint : null
  }
  const route = surface === "queue" ? parseQueuePath(method, path) : null
  return route?.kind === "request" && route.action === "stream" ? parseEndpointId(route.app) : null
}

/** Whatever key made it, a token calls apps and nothing more. */
async function holderOf({ keys }: Gateway, { account, key }: Grant): Promise<Caller | null> {
  if (key === null) {
    return keys.open ? { account: localAccount, scope: "api", key: null, open: true } : null
  }
  const holder = await keys.findById(key)
  return holder === null ? null : { account, scope: "api", key: holder, open: false }
}

async function readToken(
  parts: Pick<GatewayParts, "config" | "now" | "tokenSecret">,
  token: string,
): Promise<Grant | Refusal> {
  const invalid: Refusal = { status: 401, detail: "Invalid token" }
  if (token.length > tokenLengthMax) return invalid
  const { errors, jwtVerify } = await import("jose")
  try {
    const { payload } = await jwtVerify(token, signingSecret(parts), {
      algorithms: [algorithm],
      issuer,
      audience,
      requiredClaims: ["sub", "iat", "exp"],
      currentDate: new Date(parts.now()),
    })
    return toGrant(payload) ?? invalid
  } catch (error) {
    if (error instanceof errors.JWTExpired) return { status: 401, detail: "The token has expired" }
    if (error instanceof errors.JOSEError) return invalid
    throw error
  }
}

/** Signed by us, but perhaps by another version of us. */
function toGrant({ sub, key, apps }: Record<string, unknown>): Grant | null {
  if (typeof sub !== "string" || !(key === undefined || typeof key === "string")) return null
  if (!Array.isArray(apps)) return null
  const names = apps.filter((app): app is string => typeof app === "string")
  return { account: sub, key: key ?? null, apps: names }
}

/** The bootstrap key is no row that could be revoked: the secret is another one under another key. */
function signingSecret({
  config,
  tokenSecret,
}: Pick<GatewayParts, "config" | "tokenSecret">): Uint8Array {
  return createHmac("sha256", tokenSecret)
    .update(config.key ?? "")
    .digest()
}
