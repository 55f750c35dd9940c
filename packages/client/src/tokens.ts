import type { CallOptions } from "./call-options.ts"
import { limitsOf, readEndpoint, tryMs } from "./queue.ts"
import type { Settings } from "./settings.ts"
import { withDeadline } from "./transport/deadline.ts"
import { readAny, send } from "./transport/send.ts"

/** A token, or what gets one from the page's own server; it is asked for every connection, with what will be called. */
export type TokenSource = string | ((endpoint: string) => string | Promise<string>)

export interface TokenOptions extends CallOptions {
  /** How long it can be used; default 120. */
  seconds?: number
}

const secondsDefault = 120

/**
 * Makes a token for pages, with which they can call this app for a while without the key: its stream, its WebSocket, the status
 * stream of its requests.
 */
export async function createToken(
  settings: Settings,
  endpoint: string,
  options: TokenOptions = {},
): Promise<string> {
  return await withDeadline(limitsOf(settings, options), async (signal) => {
    const { alias } = readEndpoint(endpoint)
    const { seconds = secondsDefault } = options
    const answer = await send(settings, {
      method: "POST",
      url: `${settings.rest}/tokens/`,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ allowed_apps: [alias], token_expiration: seconds }),
      signal,
      tryMs,
      // A token that nobody got is of no use to anybody, and costs nothing.
      when: "always",
      read: readAny,
    })
    if (typeof answer === "string") return answer
    // Older proxies of the hosted service wrap it.
    const { token, detail } = { ...(answer as Record<string, unknown> | null) }
    const wrapped = token ?? detail
    if (typeof wrapped === "string") return wrapped
    throw new TypeError("The server answered a token that is none")
  })
}

/** Adds the token to the query, where there is one; true: the call shows it, and no key. */
export async function tokenQuery(
  source: TokenSource | undefined,
  endpoint: string,
  query: URLSearchParams,
): Promise<boolean> {
  if (source === undefined) return false
  query.set("fal_jwt_token", typeof source === "string" ? source : await source(endpoint))
  return true
}
