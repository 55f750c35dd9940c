import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
import { isRefusal } from "../access/caller.ts"
import { equalsSecret, readCredentials } from "../access/credentials.ts"
import type { Address } from "../address.ts"
import { type Answer, refusal } from "../answer.ts"
import type { Refusal } from "../open-mode.ts"
import type { Gateway, RunnerHolder } from "../parts.ts"

/**
 * `/_/link` and `/_/transfer/…` for runners of other machines: who may come in. A key of the scope runner or admin is asked
 * for whether or not the server is open, as whoever hosts an app sees what its callers send.
 */

export const linkPath = "/_/link"
const transferPath = "/_/transfer/"

/** Whoever has the secret of the data folder; no key's id has a colon. */
const localSecretHolder: RunnerHolder = { key: ":local", apps: null }

export function isTransfer({ surface, path }: Address): boolean {
  return surface === "own" && path.startsWith(transferPath)
}

/** Finds whose runner it is that calls, or why it is none. */
export async function findRunnerHolder(
  gateway: Gateway,
  headers: IncomingHttpHeaders,
): Promise<RunnerHolder | Refusal> {
  const given = readCredentials(headers.authorization)
  switch (given.kind) {
    case "none":
      return { status: 401, detail: "Authorization header is required" }
    case "malformed":
      return { status: 401, detail: given.detail }
    case "local":
      if (equalsSecret(given.secret, gateway.parts.localSecret)) return localSecretHolder
      return { status: 401, detail: "This is not the secret of this server's data folder" }
    case "key":
  }
  const key = await gateway.keys.find(given.id, given.secret)
  if (key === null) return { status: 401, detail: "invalid key credentials" }
  if (key.scope === "api") {
    const detail = "A key of the scope api links no runner: make one with tintype keys create"
    return { status: 403, detail: `${detail} --scope runner` }
  }
  return { key: key.id, apps: key.scope === "admin" ? null : key.apps }
}

/** Hands a transfer over. Null when it was; else why it was not. A key that is revoked meanwhile ends it. */
export async function passTransfer(
  gateway: Gateway,
  { raw, response }: { raw: IncomingMessage; response: ServerResponse },
): Promise<Answer | null> {
  const { runners } = gateway.parts
  if (runners === null) return refusal(404, "Runners are not served here")
  const holder = await findRunnerHolder(gateway, raw.headers)
  if (isRefusal(holder)) return refusal(holder.status, holder.detail)
  if (response.destroyed) return null
  response.once(
    "close",
    holdKey(gateway, holder, () => response.destroy()),
  )
  runners.transfer(raw, response, holder.key)
  return null
}

/** Calls `end` when the holder's key is revoked, until the returned function is called. */
export function holdKey(gateway: Gateway, { key }: RunnerHolder, end: () => void): () => void {
  return key === localSecretHolder.key ? () => {} : gateway.keys.hold(key, end)
}
