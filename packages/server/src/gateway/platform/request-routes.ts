import { isTerminal, requestStates } from "@tintype/protocol"
import { type Delivery, type DeliveryTry, redactWebhookUrl } from "../../domain/delivery.ts"
import type { AttemptRecord, Body, RequestRecord } from "../../domain/request.ts"
import { isForgotten } from "../../domain/retention.ts"
import { type Answer, jsonAnswer, methodNotAllowed, refusal } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { describeNext, readPage, toIso } from "./page.ts"
import { describeDelivery, describeTry } from "./webhook-routes.ts"

/**
 * What became of an account's requests, for its people: when each waited, which runner tried it, how it ended. Never what
 * was said: no payload, no header, no credential.
 */

export const requestsPath = "/_/requests"

const noStore = { "cache-control": "no-store" }

/** `GET /_/requests`, `GET /_/requests/{id}`: of the caller's account, whatever its scope. */
export async function answerRequests(gateway: Gateway, call: Call): Promise<Answer> {
  const path = call.address.path.slice(requestsPath.length).replace(/\/$/, "")
  const [, id] = /^\/([^/]+)$/.exec(path) ?? []
  if (path !== "" && id === undefined) return refusal(404, "Path not found")
  if (call.method !== "GET" && call.method !== "HEAD") {
    return methodNotAllowed(call.method, "GET, HEAD")
  }
  if (id === undefined) return await answerList(gateway, call)
  const { store } = gateway.parts
  const record = await store.request(id)
  // Another account's is like one that never was.
  if (record === null || record.account !== call.account || isOld(gateway, record)) {
    return refusal(404, `Request ${id.slice(0, 200)} not found`)
  }
  gateway.repeats.named.name(record)
  const [attempts, told, input, output, [position]] = await Promise.all([
    store.attempts(record.sequence),
    record.webhook === null ? null : store.delivery(id),
    store.body(record.sequence, "input"),
    store.body(record.sequence, "output"),
    store.positions([id]),
  ])
  const shown = {
    ...describeRequest(record, position ?? null),
    input_bytes: sizeOf(input),
    output_bytes: sizeOf(output),
    attempts: attempts.map((attempt) => describeAttempt(attempt, record)),
    webhook: record.webhook === null ? null : describeWebhook(record.webhook, told),
  }
  return jsonAnswer(200, shown, noStore)
}

/** Past its retention: unknown, whether or not it was removed already. */
function isOld({ parts }: Gateway, record: RequestRecord): boolean {
  return isForgotten(record, parts.config.retention, parts.now())
}

async function answerList(gateway: Gateway, call: Call): Promise<Answer> {
  const { parts } = gateway
  const { query } = call.address
  const page = readPage(query)
  if ("refused" in page) return page.refused
  const asked = query.get("state")
  const state = requestStates.find((one) => one === asked)
  if (asked !== null && state === undefined) {
    return refusal(400, `state is one of ${requestStates.join(", ")}`)
  }
  const [endpoint, app] = [query.get("endpoint"), query.get("app")]
  const { requests, next } = await parts.store.requests({
    account: call.account,
    limit: page.limit,
    ...(page.before === null ? {} : { before: page.before }),
    ...(state === undefined ? {} : { state }),
    ...(endpoint === null ? {} : { endpoint }),
    ...(app === null ? {} : { app }),
  })
  const known = requests.filter((record) => !isOld(gateway, record))
  const positions = await parts.store.positions(known.map(({ id }) => id))
  const shown = known.map((record, index) => describeRequest(record, positions[index] ?? null))
  return jsonAnswer(200, { requests: shown, ...describeNext(next) }, noStore)
}

function describeRequest(record: RequestRecord, position: number | null): object {
  const { cancelRequest, outcome } = record
  return {
    request_id: record.id,
    app: record.app,
    endpoint: record.endpoint,
    door: record.door,
    priority: record.priority,
    state: record.state,
    queue_position: position,
    submitted_at: toIso(record.submittedAt),
    not_before: toIso(record.notBefore),
    start_deadline: toIso(record.startDeadline),
    finished_at: toIso(record.finishedAt),
    attempts_made: record.attempts,
    cancel_request:
      cancelRequest === null ? null : { at: toIso(cancelRequest.at), cause: cancelRequest.cause },
    outcome:
      outcome === null
        ? null
        : {
            status: outcome.status,
            error: outcome.error,
            error_type: outcome.errorType,
            inference_time: outcome.inferenceMs === null ? null : outcome.inferenceMs / 1_000,
          },
  }
}

/** Of its last attempt the request itself tells the outcome. */
function describeAttempt(attempt: AttemptRecord, { state, outcome }: RequestRecord): object {
  const { number, session, runner, startedAt, endedAt, requeued } = attempt
  const ending = requeued ?? outcome
  return {
    number,
    runner:
      runner === null
        ? null
        : // Its session began a moment after its process, whose own start time only that machine can read.
          { pid: runner.pid, build: runner.build, started_at: toIso(runner.openedAt) },
    session,
    started_at: toIso(startedAt),
    ended_at: toIso(endedAt),
    // Read after the request: it may have ended in between.
    outcome: requeued !== null ? "requeued" : endedAt !== null && isTerminal(state) ? state : null,
    reason: requeued?.reason ?? null,
    status: ending?.status ?? null,
    error_type: ending?.errorType ?? null,
  }
}

/** A delivery is there once the request has ended. What receivers answered is told with the webhook itself. */
function describeWebhook(
  url: string,
  told: { delivery: Delivery; tries: DeliveryTry[] } | null,
): object {
  if (told === null) return { url: redactWebhookUrl(url), state: null, try_count: 0, tries: [] }
  return { ...describeDelivery(told.delivery), tries: told.tries.map(describeTry) }
}

function sizeOf(body: Body | null): number | null {
  if (body === null) return null
  return "blob" in body ? body.bytes : body.inline.byteLength
}
