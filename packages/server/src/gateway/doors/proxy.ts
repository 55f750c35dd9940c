import { requestHeaders } from "@tintype/protocol"
import { type Address, type AddressResolver, isForeignHost, isLoopbackName } from "../address.ts"
import { type Answer, badRequest, notServed, refusal } from "../answer.ts"

export interface ProxiedCall {
  /** Of the call to the proxy door itself. */
  address: Address
  headers: Record<string, string | string[] | undefined>
}

export const proxyPath = "/api/fal/proxy"

/**
 * The proxy protocol: `x-fal-target-url` names what is meant, and the call goes on in this process as if it had come
 * there, with the caller's own authority. Nothing is ever fetched. Answers the address meant, or a refusal.
 */
export function resolveProxied(
  call: ProxiedCall,
  resolve: AddressResolver,
): { address: Address } | { answer: Answer } {
  const target = call.headers[requestHeaders.targetUrl]
  if (typeof target !== "string" || target === "") {
    return { answer: badRequest(`The header ${requestHeaders.targetUrl} is missing`) }
  }
  const url = URL.canParse(target) ? new URL(target) : null
  if (url === null) return { answer: badRequest(`${requestHeaders.targetUrl} is not a URL`) }
  if (!/^(https?|wss?):$/.test(url.protocol)) {
    return {
      answer: refusal(412, `${requestHeaders.targetUrl} must begin with https:// or http://`),
    }
  }
  const found = resolve({
    host: url.host,
    url: url.pathname + url.search,
    encrypted: url.protocol.endsWith("s:"),
    peer: undefined,
    forwardedHost: undefined,
    forwardedProto: undefined,
  })
  if (found !== null && "unserved" in found) return { answer: notServed(found.unserved) }
  if (found === null || !(isForeignHost(found.hostname) || isOurs(url, call))) {
    return {
      answer: refusal(412, `${url.host.slice(0, 200)} is neither a fal host nor this server`),
    }
  }
  if (found.surface === "own" && found.path.startsWith(proxyPath)) {
    return { answer: badRequest("The proxy does not call itself") }
  }
  const { base } = call.address
  // The caller knows only the proxy's origin, so every URL of the answer is one of it.
  return {
    address: { ...found, base, statusBase: `${base}/queue`, fileBase: `${base}/files` },
  }
}

function isOurs(url: URL, call: ProxiedCall): boolean {
  const base = new URL(call.address.base)
  // A loopback name is as good as another: they all lead to this port of this machine.
  if (isLoopbackName(base.hostname) && isLoopbackName(url.hostname) && base.port === url.port) {
    return true
  }
  const hosts = [base.host, String(call.headers["host"]).toLowerCase()]
  return hosts.some((host) => url.host === host || url.host.endsWith(`.${host}`))
}
