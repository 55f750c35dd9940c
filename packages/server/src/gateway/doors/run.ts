import { isTerminal, parseEndpointId, responseHeaders } from "@tintype/protocol"
import type { RequestRecord } from "../../domain/request.ts"
import {
  type Answer,
  jsonAnswer,
  methodNotAllowed,
  notServed,
  overloaded,
  refusal,
} from "../answer.ts"
import { findApp, takeRequest, type TakenRequest } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { answerKeptOutcome, answerOutcome, callerGone } from "./outcome.ts"

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
    const taken = await takeRequest(gateway, call, endpoint, "run")
    const ended = await waitForOutcome(gateway, taken, gone)
    // What had ended before this call, which repeats another, is there as long as its result is kept.
    const answerEnd = isTerminal(taken.record.state) ? answerKeptOutcome : answerOutcome
    const answer = await answerEnd(gateway, call, ended)
    if (taken.resubmission) answer.headers[responseHeaders.resubmission] = "1"
    return answer
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

/**
 * Waits as long as its caller does. A run that nobody waits for is cancelled; one with a key when nobody comes back for it.
 */
async function waitForOutcome(
  gateway: Gateway,
  { record, keyed }: TakenRequest,
  gone: AbortSignal,
): Promise<RequestRecord> {
  const { repeats, parts } = gateway
  const { id } = record
  // By its key a request of the queue can be waited for as well: it goes on without its callers.
  const abandon = async () => (record.door === "run" ? await cancelAbandoned(gateway, id) : null)
  const onError = (error: unknown) => parts.log({ event: "error", requestId: id, error })
  let isAnswered = false
  if (keyed) repeats.keyedRuns.enter(id)
  try {
    const latest = await parts.snapshots.untilTerminal(id, { signal: gone })
    isAnswered = latest !== null && isTerminal(latest.state)
    if (latest !== null && isAnswered) return latest
  } finally {
    const later = isAnswered ? null : () => void abandon().catch(onError)
    if (keyed) repeats.keyedRuns.leave(id, later)
  }
  const ended = keyed ? null : await abandon()
  if (ended !== null) return ended
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

/** Resolves to the request when it has ended by that, or before. */
async function cancelAbandoned({ parts }: Gateway, id: string): Promise<RequestRecord | null> {
  const { store, hints } = parts
  const { result, request } = await store.cancel({ id, cause: "client_disconnected" })
  if (result === "requested") hints.cancel(id, "client_disconnected")
  return request !== null && isTerminal(request.state) ? request : null
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
