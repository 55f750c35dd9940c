import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { PlatformError } from "@tintype/protocol"
import { isRefusal } from "../access/caller.ts"
import { type Answer, answerError, identified, overloaded, refusal } from "../answer.ts"
import { endSocket } from "../end-socket.ts"
import { findRunnerHolder, holdKey, linkPath } from "../platform/runner-routes.ts"
import type { Gateway } from "../parts.ts"
import { openRealtime } from "../realtime/realtime-door.ts"
import { requestLogEntry } from "../request-log.ts"
import { type Door, placeCall } from "../route.ts"

/** A connection that asks to speak another protocol; nothing of what follows the head was read but `head`. */
export interface Upgrade {
  request: IncomingMessage
  socket: Duplex
  head: Buffer
}

/** Is there another protocol for this call? For a runner's link there is, and for what may be an endpoint's realtime. */
export function isUpgraded({ url = "", method, headers }: IncomingMessage): boolean {
  const path = url.replace(/^https?:\/\/[^/?#]*/i, "").split("?", 1)[0] ?? ""
  if (path === linkPath) return true
  const isWebSocket = headers.upgrade?.toLowerCase() === "websocket"
  return method === "GET" && isWebSocket && /\/realtime\/?$/.test(path)
}

/** Upgrades the connection, or answers on it why not and ends it. */
export async function answerUpgrade(door: Door, upgrade: Upgrade): Promise<void> {
  const { parts } = door.gateway
  const { request, socket } = upgrade
  const startedAt = performance.now()
  // Whoever is gone already is no error of ours.
  socket.on("error", () => socket.destroy())
  const taken = await takeOver(door, upgrade).catch((error: unknown) => answerError(error, parts))
  // It has a line of its own, when it is over.
  if (taken === "channel") return
  const isGone = socket.destroyed
  if (taken !== "link") {
    const answer = identified(taken, () => parts.newId())
    endSocket(socket, answer)
  }
  const { method = "", url = "" } = request
  const status = taken === "link" ? 101 : isGone ? 499 : taken.status
  const call = { method, url, status, startedAt, requestId: null }
  parts.log(requestLogEntry(call, performance.now()))
}

/** What the connection was taken over for, or why it was not. */
async function takeOver(door: Door, upgrade: Upgrade): Promise<Answer | "channel" | "link"> {
  const { gateway } = door
  const { request } = upgrade
  const { method = "", url = "/" } = request
  const placed = await placeCall(door, { method, url, raw: request })
  if ("answer" in placed) return placed.answer
  if (gateway.parts.draining === true) throw new PlatformError("server_stopping")
  const { surface, path } = placed.address
  if (surface === "run") return (await openRealtime(gateway, upgrade, placed.address)) ?? "channel"
  if (surface === "own" && path === linkPath) return (await openLink(gateway, upgrade)) ?? "link"
  return refusal(404, `Path ${path.slice(0, 200)} not found`)
}

async function openLink(gateway: Gateway, upgrade: Upgrade): Promise<Answer | null> {
  const { runners } = gateway.parts
  const { request, socket } = upgrade
  if (runners === null) return refusal(404, "Runners are not served here")
  const holder = await findRunnerHolder(gateway, request.headers)
  if (isRefusal(holder)) return refusal(holder.status, holder.detail)
  const end = runners.link(upgrade, holder)
  if (end === null)
    return overloaded("There are as many links as there may be, in all or of this key")
  socket.once("close", holdKey(gateway, holder, end))
  return null
}
