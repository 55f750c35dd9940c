import type { IncomingHttpHeaders } from "node:http"
import { parseEndpointId } from "@tintype/protocol"
import type { AppRow, KeyScope } from "../../store.ts"
import type { Address } from "../address.ts"
import type { Refusal } from "../open-mode.ts"
import type { Call, Gateway } from "../parts.ts"
import { equalsSecret, readCredentials } from "./credentials.ts"
import { type KeyHolder, localAccount } from "./key-ring.ts"
import { identifyByUploadToken } from "./upload-token.ts"

/** Who calls, and what that opens. */
export interface Caller {
  account: string
  /** Null: nobody that we know. */
  scope: KeyScope | null
  /** The key that was shown; null in open mode, for nobody and for the local secret. */
  key: KeyHolder | null
  /** The server needs no key: every app may be called. */
  open: boolean
}

/** Whose requests those of nobody are; no account can have this name. */
const nobodysAccount = "-"

const openCaller: Caller = { account: localAccount, scope: "api", key: null, open: true }
const localCaller: Caller = { account: localAccount, scope: "admin", key: null, open: false }
const nobody: Caller = { account: nobodysAccount, scope: null, key: null, open: false }

/** Finds who calls, or why the credentials are refused. In open mode nobody looks at them, except for administration. */
export async function identify(
  gateway: Gateway,
  headers: IncomingHttpHeaders,
  address: Address,
): Promise<Caller | Refusal> {
  const given = readCredentials(headers.authorization)
  if (given.kind === "local" && isAdministration(address)) {
    if (equalsSecret(given.secret, gateway.parts.localSecret)) return localCaller
    return { status: 401, detail: "This is not the secret of this server's data folder" }
  }
  if (gateway.keys.open) return openCaller
  const uploader = await identifyByUploadToken(gateway, headers.authorization, address)
  if (uploader !== null) return uploader
  if (given.kind === "none") return nobody
  if (given.kind === "malformed") return { status: 401, detail: given.detail }
  const key = given.kind === "key" ? await gateway.keys.find(given.id, given.secret) : null
  if (key === null) return { status: 401, detail: "invalid key credentials" }
  return { account: key.account, scope: key.scope, key, open: false }
}

export function isRefusal(found: object): found is Refusal {
  return "status" in found
}

/** Of a call of something public with credentials that are refused: they are not needed. */
export function asNobody(): Caller {
  return nobody
}

/** Administration, `/_/…`: there the local secret counts. */
function isAdministration({ surface, path }: Address): boolean {
  return surface === "own" && path.startsWith("/_/")
}

/** May this caller call this app? */
export function mayCall(caller: Caller, app: Pick<AppRow, "auth" | "account">): boolean {
  const auth = app.auth ?? "private"
  if (caller.open || auth === "public") return true
  if (caller.scope === null || caller.scope === "runner") return false
  if (auth === "shared" || caller.scope === "admin") return true
  return caller.account === (app.account ?? localAccount)
}

/**
 * May this caller administer every account: its keys, its limits? That opens nobody's requests, webhooks and files: whatever
 * the scope, they are read by `call.account` alone.
 */
export function mayAdminister({ scope, open }: Caller): boolean {
  return scope === "admin" && !open
}

/** Decides whether the caller gets to the surface that it asks for; null when it does. */
export async function refuseCaller(
  gateway: Gateway,
  call: Pick<Call, "caller" | "address" | "method">,
): Promise<Refusal | null> {
  const { caller, address, method } = call
  if (caller.open) return null
  if (caller.scope === "runner") {
    return { status: 403, detail: "A key of the scope runner cannot be used here" }
  }
  const id = appOf(address)
  if (id === null) {
    return caller.scope === null
      ? { status: 401, detail: "Authorization header is required" }
      : null
  }
  // Requests are guarded by their account; whoever has one may read it, whatever its app has become.
  if (caller.scope !== null && method !== "POST") return null
  const app = await gateway.apps.find(id)
  if (app !== null && mayCall(caller, app)) return null
  if (caller.scope === null) {
    const why = "Authentication is required to access this application."
    return { status: 401, detail: `Cannot access application "${id}". ${why}` }
  }
  // An unknown app is for its door to refuse, with the nearest.
  if (app === null) return null
  return { status: 403, detail: `Cannot access application "${id}". It is private to its owner.` }
}

function appOf({ surface, path }: Address): string | null {
  return surface === "run" || surface === "queue" ? (parseEndpointId(path)?.app ?? null) : null
}
