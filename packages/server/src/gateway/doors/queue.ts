import {
  type EndpointId,
  isTerminal,
  parseQueuePath,
  type QueuePath,
  responseHeaders,
} from "@tintype/protocol"
import type { RequestRecord } from "../../domain/request.ts"
import { isForgotten } from "../../domain/retention.ts"
import { type Answer, jsonAnswer, methodNotAllowed, refusal, requestNotFound } from "../answer.ts"
import { findApp, takeRequest } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { answerKeptOutcome, preferTerminal } from "./outcome.ts"
import { readStatus, requestUrls, statusBody, wantsLogs } from "./status.ts"
import { answerStatusStream } from "./status-stream.ts"

type RequestRoute = Extract<QueuePath, { kind: "request" }>

/** Everything under `/queue`: POST submits, GET and PUT ask about a request. */
export async function answerQueue(gateway: Gateway, call: Call): Promise<Answer> {
  const { path } = call.address
  const route = parseQueuePath(call.method, path)
  if (route === null) {
    await findApp(gateway, null, path, call.caller)
    return requestNotFound()
  }
  if (route.kind === "no_request") return requestNotFound()
  if (route.kind === "wrong_method") return methodNotAllowed(call.method, route.allow.join(", "))
  if (route.kind === "submit") return await answerSubmit(gateway, call, route.endpoint, path)
  return await answerRequest(gateway, call, route)
}

async function answerSubmit(
  gateway: Gateway,
  call: Call,
  asked: EndpointId,
  path: string,
): Promise<Answer> {
  const { endpoint } = await findApp(gateway, asked, path, call.caller)
  const { record, resubmission } = await takeRequest(gateway, call, endpoint, "queue")
  return jsonAnswer(
    200,
    {
      status: "IN_QUEUE",
      request_id: record.id,
      gateway_request_id: record.id,
      ...requestUrls(record, call.address),
      queue_position: await positionAfterSubmit(gateway, record),
      logs: null,
      metrics: {},
    },
    {
      "x-fal-request-id": record.id,
      ...(resubmission ? { [responseHeaders.resubmission]: "1" } : {}),
    },
  )
}

/** Asked at once, as a submit should not wait for the next round of positions; a request that runs has none before it. */
async function positionAfterSubmit(gateway: Gateway, record: RequestRecord): Promise<number> {
  const { snapshots, store } = gateway.parts
  const latest = await snapshots.get(record.id)
  if (latest !== null && latest.state !== "queued") return 0
  const [position] = await store.positions([record.id])
  return position ?? 0
}

async function answerRequest(gateway: Gateway, call: Call, route: RequestRoute): Promise<Answer> {
  const record = await gateway.parts.snapshots.get(route.requestId)
  // Someone else's request and one under another app's name look like none at all, and so does one that is past its
  // retention, whether or not its row and its snapshot were removed already.
  if (record === null || record.account !== call.account || record.app !== route.app) {
    return requestNotFound()
  }
  const { parts } = gateway
  if (isForgotten(record, parts.config.retention, parts.now())) return requestNotFound()
  gateway.repeats.named.name(record)
  if (route.action === "cancel") return await answerCancel(gateway, record)
  if (route.action === "stream") return answerStatusStream(gateway, call, record)
  const { record: latest, applied } = await preferTerminal(gateway, call, record)
  const answer =
    route.action === "status"
      ? await answerStatus(gateway, call, latest)
      : await answerResult(gateway, call, latest)
  if (applied) answer.headers["preference-applied"] = "wait"
  return answer
}

async function answerStatus(gateway: Gateway, call: Call, known: RequestRecord): Promise<Answer> {
  const logs = wantsLogs(call.address.query)
  const { record, facts } = await readStatus(gateway, known, { logs })
  return jsonAnswer(isTerminal(record.state) ? 200 : 202, statusBody(record, call.address, facts), {
    "x-fal-request-id": record.id,
  })
}

async function answerResult(gateway: Gateway, call: Call, record: RequestRecord): Promise<Answer> {
  if (isTerminal(record.state)) return await answerKeptOutcome(gateway, call, record)
  return refusal(400, "Request is still in progress", {
    headers: { "x-fal-request-id": record.id },
  })
}

async function answerCancel(gateway: Gateway, known: RequestRecord): Promise<Answer> {
  const { store, hints } = gateway.parts
  const { result } = await store.cancel({ id: known.id, cause: "client_cancelled" })
  const headers = { "x-fal-request-id": known.id }
  if (result === "requested") {
    hints.cancel(known.id, "client_cancelled")
    return jsonAnswer(202, { status: "CANCELLATION_REQUESTED", success: true }, headers)
  }
  if (result === "finished") return jsonAnswer(400, { status: "ALREADY_COMPLETED" }, headers)
  if (result === "unknown") return requestNotFound()
  return jsonAnswer(200, { status: "OK", success: true }, headers)
}
