import { randomBytes } from "node:crypto"
import { parseEndpointId } from "@tintype/protocol"
import type { KeyLimits, KeyRow, KeyScope } from "../../store.ts"
import {
  type Answer,
  badRequest,
  jsonAnswer,
  methodNotAllowed,
  RefusedError,
  refusal,
} from "../answer.ts"
import { readBody } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { mayAdminister } from "./caller.ts"
import { hashSecret } from "./credentials.ts"
import { localAccount, noLimits } from "./key-ring.ts"

/** Keys, administered: for the local secret and admin keys, whether or not the server is open. */

export const keysPath = "/_/keys"
const bodyBytesMax = 16 * 1024
const namesMax = 200
const appsMax = 100
const scopes: readonly KeyScope[] = ["api", "admin", "runner"]

/** `GET|POST /_/keys`, `DELETE /_/keys/{id}`. */
export async function answerKeys(gateway: Gateway, call: Call): Promise<Answer> {
  if (!mayAdminister(call.caller)) {
    const detail =
      "Keys are administered with an admin key, or with the secret of the server's data folder " +
      "(Authorization: Local <secret>)"
    return refusal(call.caller.scope === "api" && !call.caller.open ? 403 : 401, detail)
  }
  const path = call.address.path.replace(/\/$/, "")
  if (path === keysPath) {
    if (call.method === "POST") return await createKey(gateway, call)
    if (call.method === "GET" || call.method === "HEAD") return await listKeys(gateway)
    return methodNotAllowed(call.method, "GET, HEAD, POST")
  }
  const id = decode(path.slice(keysPath.length + 1))
  if (call.method !== "DELETE") return methodNotAllowed(call.method, "DELETE")
  return await revokeKey(gateway, id)
}

async function createKey(gateway: Gateway, call: Call): Promise<Answer> {
  const { parts } = gateway
  const asked = readAsked(await readJson(call, gateway))
  if ((await parts.store.keys()).length >= parts.config.limits.keysMax) {
    return refusal(400, `There are ${parts.config.limits.keysMax} keys already, the limit keysMax`)
  }
  const id = parts.newId()
  const secret = randomBytes(32).toString("hex")
  const row = await parts.store.createKey({ id, secretHash: hashSecret(secret), ...asked })
  parts.hints.keyChanged(id)
  const secrets = { key_secret: secret, key: `${id}:${secret}` }
  return jsonAnswer(201, { ...describeKey(row), ...secrets }, { "cache-control": "no-store" })
}

async function listKeys({ parts }: Gateway): Promise<Answer> {
  const keys = (await parts.store.keys()).map(describeKey)
  const { key } = parts.config
  // It has no row, but whoever lists the keys wants to know what opens the server.
  const bootstrap = key === null ? [] : [describeBootstrap(key)]
  return jsonAnswer(200, { keys: [...bootstrap, ...keys] }, { "cache-control": "no-store" })
}

async function revokeKey({ parts, keys }: Gateway, id: string): Promise<Answer> {
  if (parts.config.key?.startsWith(`${id}:`) === true) {
    return refusal(
      400,
      "This is the key of the setting TINTYPE_KEY: change the setting to revoke it",
    )
  }
  const row = await parts.store.revokeKey(id)
  if (row === null) return refusal(404, "Key not found")
  parts.hints.keyChanged(id)
  await keys.look()
  return jsonAnswer(200, { ...describeKey(row), open_mode: keys.open })
}

function describeKey(row: KeyRow): object {
  return {
    key_id: row.id,
    scope: row.scope,
    name: row.name,
    account: row.account,
    apps: row.apps,
    limits: {
      concurrency_max: row.limits.concurrencyMax,
      requests_per_second_max: row.limits.requestsPerSecondMax,
      body_bytes_max: row.limits.bodyBytesMax,
    },
    created_at: toTime(row.createdAt),
    revoked_at: toTime(row.revokedAt),
    last_used_at: toTime(row.lastUsedAt),
  }
}

function describeBootstrap(key: string): object {
  const row: KeyRow = {
    id: key.slice(0, key.indexOf(":")),
    secretHash: "",
    scope: "admin",
    name: "TINTYPE_KEY",
    account: localAccount,
    apps: [],
    limits: noLimits,
    createdAt: 0,
    revokedAt: null,
    lastUsedAt: null,
    version: 1,
  }
  return { ...describeKey(row), created_at: null }
}

function toTime(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString()
}

async function readJson(call: Call, { parts }: Gateway): Promise<Record<string, unknown>> {
  const { body } = await readBody(call.raw, parts, bodyBytesMax)
  const text = "inline" in body ? new TextDecoder().decode(body.inline) : ""
  let parsed: unknown = null
  try {
    parsed = JSON.parse(text)
  } catch {
    // Told below, with what else is no object.
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw refuse("The body must be a JSON object")
  }
  return { ...parsed }
}

function readAsked(given: Record<string, unknown>): {
  scope: KeyScope
  name: string
  account: string
  apps: string[]
  limits: KeyLimits
} {
  const { scope, name = "", account = localAccount, apps, limits, ...others } = given
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw refuse(`Unknown field ${JSON.stringify(unknown.slice(0, 100))}`)
  const known = scopes.find((one) => one === scope)
  if (known === undefined) throw refuse(`scope must be one of ${scopes.join(", ")}`)
  if (typeof name !== "string" || name.length > namesMax) {
    throw refuse(`name must be a text of at most ${namesMax} characters`)
  }
  if (typeof account !== "string" || !/^[a-z\d][a-z\d._-]{0,62}$/i.test(account)) {
    throw refuse("account must be letters, digits, dots, dashes and underscores, at most 63")
  }
  return {
    scope: known,
    name,
    account,
    apps: readApps(known, account, apps),
    limits: readLimits(limits),
  }
}

/** A runner key hosts what it names, by default all of its account's own namespace. */
function readApps(scope: KeyScope, account: string, given: unknown): string[] {
  if (given === undefined) return scope === "runner" ? [`${account}/*`] : []
  if (scope !== "runner") throw refuse("apps belong to a key of the scope runner")
  if (!Array.isArray(given) || given.length === 0 || given.length > appsMax) {
    throw refuse(`apps must be a list of 1 to ${appsMax} app ids`)
  }
  return given.map((id: unknown) => {
    const name = typeof id === "string" ? id.replace(/\/\*$/, "/any") : ""
    if (typeof id === "string" && parseEndpointId(name)?.app === name) return id
    throw refuse("apps must be ids such as owner/alias or owner/*")
  })
}

function readLimits(given: unknown): KeyLimits {
  if (given === undefined) return noLimits
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw refuse("limits must be an object")
  }
  const names: Record<string, keyof KeyLimits> = {
    concurrency_max: "concurrencyMax",
    requests_per_second_max: "requestsPerSecondMax",
    body_bytes_max: "bodyBytesMax",
  }
  const limits = { ...noLimits }
  for (const [name, value] of Object.entries(given)) {
    const limit = Object.hasOwn(names, name) ? names[name] : undefined
    if (limit === undefined) throw refuse(`Unknown limit ${JSON.stringify(name.slice(0, 100))}`)
    if (value !== null && !(Number.isSafeInteger(value) && Number(value) > 0)) {
      throw refuse(`limits.${name} must be a whole number above 0, or null`)
    }
    limits[limit] = value === null ? null : Number(value)
  }
  return limits
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function refuse(detail: string): RefusedError {
  return new RefusedError(badRequest(detail))
}
