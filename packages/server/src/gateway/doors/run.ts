import { isTerminal, parseEndpointId } from "@tintype/protocol"
import type { RequestRecord } from "../../domain/request.ts"
import {
  type Answer,
  jsonAnswer,
  methodNotAllowed,
  notServed,
  overloaded,
  refusal,
} from "../answer.ts"
import { findApp, takeRequest } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { answerOutcome, callerGone } from "./outcome.ts"

const exampleEndpoint = "fal-ai/flux/dev"

/** `POST /run/{endpoint}`: makes a request, waits for its outcome and answers it. */
export async function answerRun(gateway: Gateway, call: Call): Promise<Answer> {
  const { path } = call.address
  if (call.method !== "POST") return await answerOtherMethod(gateway, call)
  const { endpoint, app } = await findApp(gateway, parseEndpointId(path), path, call.caller)
  const door = /\/(stream|realtime)$/.exec(endpoint.path)?.[1]
  if (door !== undefined && !app.endpoints.includes(endpoint.id)) return notServed(`/${door}`)
  const leave = gateway.waiters.enter()
  if (leave === null) return overloaded("Too many calls wait; try again")
  try {
    const gone = callerGone(call)
    const record = await takeRequest(gateway, call, endpoint, "run")
    return await answerOutcome(gateway, call, await waitForOutcome(gateway, record, gone))
  } finally {
    leave()
  }
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

/** Waits as long as its caller does; a request that nobody waits for is cancelled. */
async function waitForOutcome(
  gateway: Gateway,
  record: RequestRecord,
  gone: AbortSignal,
): Promise<RequestRecord> {
  const { snapshots, store, hints } = gateway.parts
  const latest = await snapshots.untilTerminal(record.id, { signal: gone })
  if (latest !== null && isTerminal(latest.state)) return latest
  const { result, request } = await store.cancel({ id: record.id, cause: "client_disconnected" })
  if (result === "requested") hints.cancel(record.id, "client_disconnected")
  if (request !== null && isTerminal(request.state)) return request
  // Nobody reads this answer: the connection is closed. The record of a running request has no outcome yet.
  const outcome = {
    status: 499,
    headers: {},
    error: "The caller went away",
    errorType: "client_disconnected",
    inferenceMs: null,
  }
  return { ...record, outcome }
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
  return {
    detail: "Endpoints are called with POST and a JSON body",
    run: `POST ${call.address.base}/run/${endpoint}`,
    queue: `POST ${call.address.statusBase}/${endpoint}`,
    openapi: `${call.address.base}/api/openapi/queue/openapi.json?endpoint_id=${endpoint}`,
  }
}
