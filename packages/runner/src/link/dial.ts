import {
  Agent as HttpAgent,
  type ClientRequest,
  type RequestOptions,
  request as httpRequest,
} from "node:http"
import { Agent as HttpsAgent, request as httpsRequest } from "node:https"
import { createConnection } from "node:net"
import { linkMessageBytesMax } from "@tintype/protocol"
import { WebSocket } from "ws"

/** Where the gateway is found, and what opens it: the local runner's way, and that of one on another machine. */
export type DialTarget =
  | {
      /** The Unix socket that the gateway listens on. */
      socketPath: string
      secret: string
    }
  | {
      /** The server's address, `http:` or `https:`, without a slash at the end. */
      url: string
      /** A key of the scope runner or admin, `id:secret`. */
      key: string
    }

const agentOptions = { keepAlive: true, maxFreeSockets: 4 }

/** Keeps the connections of transfers. */
export function createAgent(target: DialTarget): HttpAgent {
  return isEncrypted(target) ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions)
}

/** Dials the link. TLS is as Node has it: its authorities, and those of NODE_EXTRA_CA_CERTS. */
export function dialLink(target: DialTarget): WebSocket {
  const options = {
    headers: { authorization: authorization(target) },
    maxPayload: linkMessageBytesMax,
    perMessageDeflate: false,
  }
  if ("url" in target) {
    return new WebSocket(`${target.url.replace(/^http/, "ws")}/_/link`, options)
  }
  return new WebSocket("ws://localhost/_/link", {
    ...options,
    // Not a `ws+unix:` URL: it cannot say a path that has a colon or a space in it.
    createConnection: () => createConnection(target.socketPath),
  })
}

/** Begins a call; `path` is below the gateway's address. */
export function openCall(
  target: DialTarget,
  path: string,
  options: Pick<RequestOptions, "agent" | "method" | "signal"> & {
    headers: Record<string, string | number>
  },
): ClientRequest {
  const headers = { ...options.headers, authorization: authorization(target) }
  if ("url" in target) {
    const request = isEncrypted(target) ? httpsRequest : httpRequest
    return request(`${target.url}${path}`, { ...options, headers })
  }
  const { socketPath } = target
  return httpRequest({ ...options, socketPath, path, headers: { host: "localhost", ...headers } })
}

function authorization(target: DialTarget): string {
  return "url" in target ? `Key ${target.key}` : `Bearer ${target.secret}`
}

function isEncrypted(target: DialTarget): boolean {
  return "url" in target && target.url.startsWith("https:")
}
