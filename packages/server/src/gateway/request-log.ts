import type { GatewayLogEntry } from "./parts.ts"

/** Query parameters whose values are credentials, or lead to someone's server. */
const secretParameters = new Set([
  "fal_jwt_token",
  "fal_webhook",
  "identity",
  "token",
  "key",
  "signature",
  "authorization",
  "api_key",
  "fal_key",
  "secret",
])

/** A request target fit for the log: bounded, and without what must stay secret. */
export function redactTarget(url: string): string {
  const mark = url.indexOf("?")
  // Userinfo of an absolute target is a credential too.
  const path = (mark === -1 ? url : url.slice(0, mark))
    .replace(/^(https?:\/\/)[^/@]*@/i, "$1")
    // Of an upload, what its URL opens with.
    .replace(/(\/(?:upload|multipart)\/)[\w-]+\.[\w-]+/, "$1redacted")
  if (mark === -1) return path.slice(0, 512)
  const kept = url
    .slice(mark + 1)
    .split("&")
    .map((pair) => {
      const name = pair.split("=", 1)[0] ?? ""
      return secretParameters.has(decodeName(name)) ? `${name}=redacted` : pair
    })
  return `${path}?${kept.join("&")}`.slice(0, 512)
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name).toLowerCase()
  } catch {
    return name
  }
}

export interface LoggedCall {
  method: string
  url: string
  status: number
  startedAt: number
  requestId: string | null
}

/** The one line a request. */
export function requestLogEntry(call: LoggedCall, now: number): GatewayLogEntry {
  return {
    event: "request",
    method: call.method,
    path: redactTarget(call.url),
    status: call.status,
    ms: Math.round((now - call.startedAt) * 10) / 10,
    requestId: call.requestId,
  }
}
