import {
  type Delivery,
  type DeliveryState,
  type DeliveryTry,
  redactWebhookUrl,
} from "../../domain/delivery.ts"
import { mayAdminister } from "../access/caller.ts"
import { type Answer, jsonAnswer, methodNotAllowed, refusal } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"

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
 * `GET /_/webhooks`, `GET /_/webhooks/{request}`, `POST /_/webhooks/{request}/resend`: of the caller's account, and for
 * those who administer of every one.
 */
export async function answerWebhooks(gateway: Gateway, call: Call): Promise<Answer> {
  const { caller } = call
  if (!caller.open && !mayAdminister(caller)) {
    return refusal(403, "Webhooks are administered with an admin key")
  }
  const path = call.address.path.slice(webhooksPath.length).replace(/\/$/, "")
  const [, request, action] = /^(?:\/([^/]+)(\/resend)?)?$/.exec(path) ?? []
  if (path !== "" && request === undefined) return refusal(404, "Path not found")
  const method = action === undefined ? "GET" : "POST"
  if (call.method !== method) return methodNotAllowed(call.method, method)
  if (request === undefined) return await answerList(gateway, call)
  const known = await gateway.parts.store.delivery(request)
  if (known === null || (caller.open && known.delivery.account !== call.account)) {
    return refusal(404, `Request ${request.slice(0, 200)} has no delivery`)
  }
  if (action === undefined) {
    return jsonAnswer(200, { ...describe(known.delivery), tries: known.tries.map(describeTry) })
  }
  const again = await gateway.parts.store.requeueDelivery(request)
  gateway.parts.hints.delivery()
  return jsonAnswer(202, describe(again ?? known.delivery))
}

const limitDefault = 50
const limitMax = 100
const states: readonly DeliveryState[] = ["pending", "delivered", "failed", "exhausted"]

async function answerList({ parts }: Gateway, call: Call): Promise<Answer> {
  const { query } = call.address
  const limit = query.get("limit") ?? String(limitDefault)
  if (!/^[1-9]\d{0,8}$/.test(limit)) return refusal(400, "limit is not valid")
  const asked = query.get("state")
  const state = states.find((one) => one === asked)
  if (asked !== null && state === undefined) {
    return refusal(400, `state is one of ${states.join(", ")}`)
  }
  const cursor = query.get("cursor")
  const before = cursor === null ? null : Buffer.from(cursor, "base64url").toString()
  if (before !== null && !/^\d{1,15}$/.test(before)) return refusal(400, "cursor is not valid")
  const size = Math.min(Number(limit), limitMax)
  const found = await parts.store.deliveries({
    account: call.caller.open ? call.account : (query.get("account") ?? call.account),
    limit: size + 1,
    ...(state === undefined ? {} : { state }),
    ...(before === null ? {} : { before: Number(before) }),
  })
  const shown = found.slice(0, size)
  const more = found.length > size
  const last = shown.at(-1)?.sequence ?? 0
  return jsonAnswer(200, {
    deliveries: shown.map(describe),
    next_cursor: more ? Buffer.from(String(last)).toString("base64url") : null,
    has_more: more,
  })
}

function describe(delivery: Delivery): Record<string, unknown> {
  const { request, url, state, tries, nextAt, createdAt, finishedAt } = delivery
  return {
    request_id: request,
    url: redactWebhookUrl(url),
    state,
    try_count: tries,
    next_try_at: nextAt === null ? null : toIso(Math.max(nextAt, createdAt)),
    created_at: toIso(createdAt),
    finished_at: finishedAt === null ? null : toIso(finishedAt),
  }
}

function describeTry(made: DeliveryTry, index: number): Record<string, unknown> {
  const { at, durationMs, status, error, detail, answer } = made
  const number = index + 1
  return { number, at: toIso(at), duration_ms: durationMs, status, error, detail, answer }
}

function toIso(epochMs: number): string {
  return new Date(epochMs).toISOString()
}
