import { type EndpointId, parseEndpointId } from "@tintype/protocol"
import type { AppRow } from "../../store.ts"
import {
  type Answer,
  jsonAnswer,
  methodNotAllowed,
  notServed,
  overloaded,
  refusal,
} from "../answer.ts"
import { isForeignHost } from "../address.ts"
import { findApp, takeRequest } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { callerGone } from "./outcome.ts"
import { answerStream } from "./stream.ts"
import { answerTaken } from "./waiting.ts"

const exampleEndpoint = "fal-ai/flux/dev"

/** `POST /run/{endpoint}`: makes a request, waits for its outcome and answers it. */
export async function answerRun(gateway: Gateway, call: Call): Promise<Answer> {
  const { path } = call.address
  if (call.method !== "POST") return await answerOtherMethod(gateway, call)
  const { endpoint, app } = await findApp(gateway, parseEndpointId(path), path, call.caller)
  const streamed = findStreamed(endpoint, app)
  if (streamed !== null) return await answerStream(gateway, call, streamed)
  const isServed = app.endpoints.includes(endpoint.id)
  if (!isServed && endpoint.path.endsWith("/stream")) return refuseStream(call, endpoint, app)
  if (!isServed && endpoint.path.endsWith("/realtime")) return refuseRealtime(endpoint, app)
  const leave = gateway.waiters.enter()
  if (leave === null) return overloaded("Too many calls wait; try again")
  try {
    const gone = callerGone(call)
    return await answerTaken(gateway, call, await takeRequest(gateway, call, endpoint, "run"), gone)
  } finally {
    leave()
  }
}

/** The endpoint that is to be streamed: an app may have one whose own name ends in `/stream`. */
function findStreamed(
  endpoint: EndpointId,
  { endpoints, streams = [] }: AppRow,
): EndpointId | null {
  if (!endpoint.path.endsWith("/stream")) return null
  if (endpoints.includes(endpoint.id)) return streams.includes(endpoint.id) ? endpoint : null
  const base = withoutStream(endpoint)
  return streams.includes(base.id) ? base : null
}

function withoutStream({ id, path, ...endpoint }: EndpointId): EndpointId {
  const cut = -"/stream".length
  return { ...endpoint, id: id.slice(0, cut), path: path.slice(0, cut) }
}

function refuseStream(call: Call, endpoint: EndpointId, { endpoints }: AppRow): Answer {
  const { id } = withoutStream(endpoint)
  const isServed = endpoints.includes(id)
  const detail = isServed
    ? `Endpoint "${id}" does not stream: call it without /stream`
    : `Path ${endpoint.path} not found`
  return jsonAnswer(404, isServed ? { ...explain(call, id), detail } : { detail })
}

/** It is a WebSocket, if it is anything. */
function refuseRealtime({ id }: EndpointId, { realtime = {} }: AppRow): Answer {
  const base = id.slice(0, -"/realtime".length)
  return realtime[base] === undefined
    ? refusal(404, `Endpoint "${base}" is not realtime: call it without /realtime`)
    : refusal(426, `"${id}" is a WebSocket`, { headers: { upgrade: "websocket" } })
}

/** What somebody sees who opens an endpoint in a browser, or mistypes one. */
async function answerOtherMethod(gateway: Gateway, call: Call): Promise<Answer> {
  const { path } = call.address
  if (call.headers.upgrade !== undefined) return notServed("A WebSocket")
  const endpoint = parseEndpointId(path)
  const app = endpoint === null ? null : await gateway.apps.find(endpoint.app)
  if (endpoint !== null && app !== null) {
    const { status, headers } = methodNotAllowed(call.method, "POST")
    return jsonAnswer(status, explain(call, endpoint.id), headers)
  }
  const name = path.replace(/^\/|\/$/g, "").slice(0, 200)
  const nearest = await gateway.apps.nearest(name, call.caller)
  return jsonAnswer(404, {
    ...explain(call, nearest ?? exampleEndpoint),
    detail: `Application "${name}" not found`,
    ...(nearest === null ? {} : { nearest }),
  })
}

/** `GET /` and other reads of the run surface: what this is and how to call it. */
export function describeServer(call: Call): Answer {
  if (call.method !== "GET" && call.method !== "HEAD") {
    return refusal(404, 'Application "" not found')
  }
  return jsonAnswer(200, {
    server: "tintype",
    ...explain(call, exampleEndpoint),
    models: `${call.address.base}/v1/models`,
    health: `${call.address.base}/health`,
  })
}

function explain(call: Call, endpoint: string): Record<string, string> {
  const { base, hostname, runBase } = call.address
  const runs = isForeignHost(hostname) ? runBase : `${base}/run`
  return {
    detail: "Endpoints are called with POST and a JSON body",
    run: `POST ${runs}/${endpoint}`,
    queue: `POST ${call.address.statusBase}/${endpoint}`,
    openapi: `${base}/api/openapi/queue/openapi.json?endpoint_id=${endpoint}`,
  }
}
