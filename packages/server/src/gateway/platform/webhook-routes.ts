import {
  type Delivery,
  type DeliveryState,
  type DeliveryTry,
  redactWebhookUrl,
} from "../../domain/delivery.ts"
import { mayAdminister } from "../access/caller.ts"
import { type Answer, jsonAnswer, methodNotAllowed, refusal } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { describeNext, readPage, toIso } from "./page.ts"

/** What receivers verify webhooks by, and what their owner is told of them. */

export const keySetPath = "/.well-known/jwks.json"
export const webhooksPath = "/_/webhooks"

/** Receivers may keep the keys for a day; an hour lets a new one become known soon. */
const keySetMaxAgeSeconds = 3_600

/** `GET /.well-known/jwks.json`, for anyone. */
export function answerKeySet({ parts }: Gateway, call: Call): Answer {
  if (call.method !== "GET" && call.method !== "HEAD") {
    return methodNotAllowed(call.method, "GET, HEAD")
  }
  const headers = { "cache-control": `public, max-age=${keySetMaxAgeSeconds}` }
  return jsonAnswer(200, { keys: parts.webhookKeys }, headers)
}

/**
 * `GET /_/webhooks`, `GET /_/webhooks/{request}`, `POST /_/webhooks/{request}/resend`: of the caller's account, like the
 * requests that owe them.
 */
export async function answerWebhooks(gateway: Gateway, call: Call): Promise<Answer> {
  const path = call.address.path.slice(webhooksPath.length).replace(/\/$/, "")
  const [, request, action] = /^(?:\/([^/]+)(\/resend)?)?$/.exec(path) ?? []
  if (path !== "" && request === undefined) return refusal(404, "Path not found")
  const method = action === undefined ? "GET" : "POST"
  if (call.method !== method) return methodNotAllowed(call.method, method)
  if (request === undefined) return await answerList(gateway, call)
  const known = await gateway.parts.store.delivery(request)
  if (known === null || known.delivery.account !== call.account) {
    return refusal(404, `Request ${request.slice(0, 200)} has no delivery`)
  }
  gateway.repeats.named.nameByDelivery(known.delivery)
  if (action === undefined) {
    const tries = known.tries.map((made, index) => ({
      ...describeTry(made, index),
      answer: mayReadAnswers(call) ? made.answer : null,
    }))
    return jsonAnswer(200, { ...describeDelivery(known.delivery), tries })
  }
  const again = await gateway.parts.store.requeueDelivery(request)
  gateway.parts.hints.delivery()
  return jsonAnswer(202, describeDelivery(again ?? known.delivery))
}

/** A webhook reaches what this server reaches, its own network perhaps; what is said there is not for every key. */
function mayReadAnswers({ caller }: Call): boolean {
  return caller.open || mayAdminister(caller)
}

const states: readonly DeliveryState[] = ["pending", "delivered", "failed", "exhausted"]

async function answerList({ parts }: Gateway, call: Call): Promise<Answer> {
  const { query } = call.address
  const page = readPage(query)
  if ("refused" in page) return page.refused
  const asked = query.get("state")
  const state = states.find((one) => one === asked)
  if (asked !== null && state === undefined) {
    return refusal(400, `state is one of ${states.join(", ")}`)
  }
  const found = await parts.store.deliveries({
    account: call.account,
    limit: page.limit + 1,
    ...(state === undefined ? {} : { state }),
    ...(page.before === null ? {} : { before: page.before }),
  })
  const shown = found.slice(0, page.limit)
  const last = found.length > page.limit ? (shown.at(-1)?.sequence ?? null) : null
  return jsonAnswer(200, { deliveries: shown.map(describeDelivery), ...describeNext(last) })
}

export function describeDelivery(delivery: Delivery): Record<string, unknown> {
  const { request, url, state, tries, nextAt, createdAt, finishedAt } = delivery
  return {
    request_id: request,
    url: redactWebhookUrl(url),
    state,
    try_count: tries,
    next_try_at: nextAt === null ? null : toIso(Math.max(nextAt, createdAt)),
    created_at: toIso(createdAt),
    finished_at: toIso(finishedAt),
  }
}

/** Without what the receiver answered. */
export function describeTry(made: DeliveryTry, index: number): Record<string, unknown> {
  const { at, durationMs, status, error, detail } = made
  return { number: index + 1, at: toIso(at), duration_ms: durationMs, status, error, detail }
}
