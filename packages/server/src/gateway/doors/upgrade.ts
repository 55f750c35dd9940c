import type { IncomingMessage } from "node:http"
import { STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"
import { PlatformError } from "@tintype/protocol"
import { isRefusal } from "../access/caller.ts"
import { type Answer, answerError, identified, overloaded, refusal } from "../answer.ts"
import { findRunnerHolder, holdKey, linkPath } from "../platform/runner-routes.ts"
import { requestLogEntry } from "../request-log.ts"
import { type Door, placeCall } from "../route.ts"

/** A connection that asks to speak another protocol; nothing of what follows the head was read but `head`. */
export interface Upgrade {
  request: IncomingMessage
  socket: Duplex
  head: Buffer
}

/** Is there another protocol for this call? Of all paths a runner's link is the only one. */
export function isUpgraded({ url = "" }: IncomingMessage): boolean {
  return url.replace(/^https?:\/\/[^/?#]*/i, "").split("?", 1)[0] === linkPath
}

/** Upgrades the connection, or answers on it why not and ends it. */
export async function answerUpgrade(door: Door, upgrade: Upgrade): Promise<void> {
  const { parts } = door.gateway
  const { request, socket } = upgrade
  const startedAt = performance.now()
  // Whoever is gone already is no error of ours.
  socket.on("error", () => socket.destroy())
  const refused = await openLink(door, upgrade).catch((error: unknown) => answerError(error, parts))
  if (refused !== null)
    endSocket(
      socket,
      identified(refused, () => parts.newId()),
    )
  const { method = "", url = "" } = request
  const call = { method, url, status: refused?.status ?? 101, startedAt, requestId: null }
  parts.log(requestLogEntry(call, performance.now()))
}

/** Null when the connection was taken over. */
async function openLink(door: Door, upgrade: Upgrade): Promise<Answer | null> {
  const { gateway } = door
  const { parts } = gateway
  const { request, socket } = upgrade
  const { method = "", url = "/" } = request
  const placed = await placeCall(door, { method, url, raw: request })
  if ("answer" in placed) return placed.answer
  const { surface, path } = placed.address
  if (surface !== "own" || path !== linkPath || parts.runners === null) {
    return refusal(404, `Path ${path.slice(0, 200)} not found`)
  }
  if (parts.draining === true) throw new PlatformError("server_stopping")
  const holder = await findRunnerHolder(gateway, request.headers)
  if (isRefusal(holder)) return refusal(holder.status, holder.detail)
  const end = parts.runners.link(upgrade, holder)
  if (end === null)
    return overloaded("There are as many links as there may be, in all or of this key")
  socket.once("close", holdKey(gateway, holder, end))
  return null
}

/** An answer where Node has no response to write it to; the connection ends with it. */
function endSocket(socket: Duplex, { status, headers, body }: Answer): void {
  const text = typeof body === "string" || body instanceof Uint8Array ? body : ""
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(text)}`,
    "connection: close",
  ]
  // One that does not end its half must not hold up ours.
  socket.once("finish", () => socket.destroy())
  socket.write(`${head.join("\r\n")}\r\n\r\n`)
  socket.end(text)
}
