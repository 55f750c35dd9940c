import { type EndpointId, parseEndpointId, strippedFromCaller } from "@tintype/protocol"
import type { Channel, ChannelRefusal } from "../../realtime.ts"
import type { RealtimeRow } from "../../store.ts"
import { type Caller, identify, isRefusal, refuseCaller } from "../access/caller.ts"
import { identifyByToken, tokenParameter } from "../access/tokens.ts"
import type { Address } from "../address.ts"
import { type Answer, badRequest, overloaded, refusal } from "../answer.ts"
import { findApp, refuseTooFast } from "../intake.ts"
import type { Refusal } from "../open-mode.ts"
import type { Gateway } from "../parts.ts"
import type { CallerSocket, ChannelSummary } from "./caller-socket.ts"
import type { UpgradeCall } from "./caller-sockets.ts"

/**
 * `GET {endpoint}/realtime`, upgraded: one channel to an app for as long as the caller stays. What is wrong with the call
 * itself is answered in HTTP; what a caller can mend by coming again is said on the WebSocket, as in a browser nobody can
 * read the answer to an upgrade.
 */

/** Null when the connection was taken over; the log is told of it when it is over. */
export async function openRealtime(
  gateway: Gateway,
  upgrade: UpgradeCall,
  address: Address,
): Promise<Answer | null> {
  const { channels } = gateway.parts
  const asked = parseEndpointId(address.path)
  if (channels === null || asked?.path.endsWith("/realtime") !== true) {
    return refusal(404, `Path ${address.path.slice(0, 200)} not found`)
  }
  const caller = await findCaller(gateway, upgrade, { address, endpoint: asked })
  const endpoint = withoutRealtime(asked)
  if (isRefusal(caller)) return refuseUpgraded(gateway, upgrade, endpoint, caller)
  const { app } = await findApp(gateway, endpoint, address.path, caller)
  const row = app.realtime?.[endpoint.id]
  if (row === undefined) {
    return refusal(404, `Endpoint "${endpoint.id}" is not realtime: call it with POST`)
  }
  const buffering = readBuffering(address.query)
  if (buffering === null) return badRequest("max_buffering must be a whole number from 1 to 60")
  refuseTooFast(gateway, { account: caller.account, caller })
  const leave = gateway.waiters.enter()
  if (leave === null) return overloaded("Too many calls wait; try again")
  try {
    await untilHosted(gateway, upgrade, endpoint.app)
  } finally {
    leave()
  }
  return connect(gateway, upgrade, { address, endpoint, row, caller, buffering })
}

/** A token stands for the key that made it; a header beside it says more. */
async function findCaller(
  gateway: Gateway,
  { request: { headers } }: UpgradeCall,
  { address, endpoint }: { address: Address; endpoint: EndpointId },
): Promise<Caller | Refusal> {
  const token = address.query.get(tokenParameter)
  if (token !== null && headers.authorization === undefined) {
    return await identifyByToken(gateway, token, endpoint)
  }
  const caller = await identify(gateway, headers, address)
  if (isRefusal(caller)) return caller
  // Whoever opens a channel has the app compute, as a POST does.
  return (await refuseCaller(gateway, { caller, address, method: "POST" })) ?? caller
}

/** Clients take this message for the word to authorize anew. */
function refuseUpgraded(
  gateway: Gateway,
  upgrade: UpgradeCall,
  endpoint: EndpointId,
  { detail }: Refusal,
): Answer | null {
  const socket = gateway.sockets.upgrade(upgrade, null, {
    inputs: { countMax: 1, bytesMax: 0 },
    outputBytesMax: 0,
    idleMs: 0,
    onClosed: channelTeller(gateway, endpoint),
  })
  if (typeof socket === "string") return badRequest(socket)
  socket.close(1008, detail, { status: "error", error: "Unauthorized" })
  return null
}

/** Tells the log of a channel that is over, counting from now. */
function channelTeller(
  { parts }: Gateway,
  endpoint: EndpointId,
): (summary: ChannelSummary) => void {
  const startedAt = performance.now()
  return (summary) => {
    const ms = Math.round(performance.now() - startedAt)
    parts.log({ event: "channel", endpoint: endpoint.id, ms, ...summary })
  }
}

function withoutRealtime({ id, path, ...endpoint }: EndpointId): EndpointId {
  const cut = -"/realtime".length
  return { ...endpoint, id: id.slice(0, cut), path: path.slice(0, cut) }
}

/** How many inputs may wait, as the caller says; null when that is no such number. */
function readBuffering(query: URLSearchParams): number | null {
  const given = query.get("max_buffering")
  if (given === null) return Number.POSITIVE_INFINITY
  const count = /^\d{1,2}$/.test(given) ? Number(given) : 0
  return count >= 1 && count <= 60 ? count : null
}

/** A runner may be on its way: clients wait for the upgrade longer than it takes to start one. */
async function untilHosted(
  { parts }: Gateway,
  { socket }: UpgradeCall,
  app: string,
): Promise<void> {
  const gone = new AbortController()
  const end = () => gone.abort()
  const timer = setTimeout(end, parts.config.timing.channelOpenMs)
  socket.once("close", end)
  await parts.channels?.untilHosted(app, gone.signal)
  socket.off("close", end)
  clearTimeout(timer)
}

interface Accepted {
  address: Address
  endpoint: EndpointId
  row: RealtimeRow
  caller: Caller
  buffering: number
}

function connect(gateway: Gateway, upgrade: UpgradeCall, accepted: Accepted): Answer | null {
  const { parts, keys } = gateway
  const { limits, timing } = parts.config
  const { endpoint, row, caller, buffering } = accepted
  const tell = channelTeller(gateway, endpoint)
  const place = gateway.sockets.places.take(caller.account)
  let release: (() => void) | null = null
  const socket = gateway.sockets.upgrade(upgrade, place, {
    inputs: {
      countMax: Math.min(buffering, row.inputsMax ?? limits.channelInputsMax),
      bytesMax: limits.channelInputBytesMax,
    },
    outputBytesMax: limits.channelOutputBytesMax,
    idleMs: row.idleMs ?? timing.channelIdleMs,
    onClosed: (summary) => {
      place?.leave()
      release?.()
      tell(summary)
    },
  })
  if (typeof socket === "string") {
    place?.leave()
    return badRequest(socket)
  }
  if (caller.key !== null) {
    release = keys.hold(caller.key.id, () => socket.close(1008, "The key was revoked"))
  }
  const channel = place === null ? "crowded" : openChannel(gateway, upgrade, accepted, socket)
  if (typeof channel !== "string") socket.attach(channel)
  else socket.close(channel === "stopping" ? 1001 : 1013, refusals[channel])
  return null
}

const refusals: Record<ChannelRefusal | "crowded", string> = {
  crowded: "This account has as many connections as it may: end one",
  unhosted: "No runner of this app came up in time: try again",
  full: "Every runner of this app has as many connections as it may: try again",
  stopping: "The server stops: connect again",
}

function openChannel(
  { parts }: Gateway,
  { request }: UpgradeCall,
  { address, endpoint, row }: Accepted,
  socket: CallerSocket,
): Channel | ChannelRefusal {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers)) {
    if (value === undefined || strippedFromCaller(name) || isOfUpgrade(name)) continue
    headers[name] = Array.isArray(value) ? value.join(", ") : value
  }
  const call = {
    id: parts.newId(),
    app: endpoint.app,
    endpoint: endpoint.id,
    path: endpoint.path === "" ? "/" : endpoint.path,
    headers,
    fileBase: address.fileBase,
    exclusive: row.exclusive === true,
  }
  return parts.channels?.open(call, socket) ?? "unhosted"
}

function isOfUpgrade(name: string): boolean {
  return name === "upgrade" || name.startsWith("sec-websocket-")
}
