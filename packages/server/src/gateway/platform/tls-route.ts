import { type Answer, jsonAnswer, methodNotAllowed } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"

/**
 * What a program that was written for the hosted service has to be given to come here instead: the port where TLS is ended, whom
 * to trust, and whether a key is needed. No secret is in it, and who is to call has no key yet.
 */
export const tlsPath = "/_/tls"

export function answerTls({ parts, access }: Gateway, { method }: Call): Answer {
  if (method !== "GET" && method !== "HEAD") return methodNotAllowed(method, "GET, HEAD")
  const { port = null, ca = null } = parts.tls ?? {}
  return jsonAnswer(200, { port, ca, open: access.open }, { "cache-control": "no-store" })
}
