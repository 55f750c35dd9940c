import assert from "node:assert/strict"
import { isTerminal } from "@tintype/protocol"
import type { RequestRecord } from "./request.ts"

/**
 * The webhook of one request, as pure functions: when it comes to be, and what it becomes after each try.
 *
 *                     ┌── no 2xx, a retry is left (backoff) ──┐
 *                     ▼                                       │
 *   request ends ─▶ pending ──────────────── try ─────────────┤
 *                     ▲                                       ├──▶ delivered   2xx
 *                     │                                       ├──▶ failed      3xx, or an address that is not allowed
 *                     └────────────── resend ─────────────────┴──▶ exhausted   no retry is left
 */
export interface Delivery {
  /** Of the request that it tells of; a request has one delivery at most. */
  sequence: number
  request: string
  account: string
  url: string
  /** Scheme, host and port of `url`: what a limit of tries at a time is for. */
  origin: string
  state: DeliveryState
  /** Tries so far, numbered from 1. */
  tries: number
  /** Of these, the ones since it was made or sent again. */
  triesInRound: number
  /** Epoch milliseconds; 0 is at once, null is never. */
  nextAt: number | null
  createdAt: number
  finishedAt: number | null
}

export type DeliveryState = "pending" | "delivered" | "failed" | "exhausted"

/** What one try has come to. Times are epoch milliseconds. */
export interface DeliveryTry {
  at: number
  durationMs: number
  /** Null when nothing was answered. */
  status: number | null
  /** The first bytes of the answer's body, as text. */
  answer: string
  /** Null when an answer came, whatever its status. */
  error: DeliveryError | null
  /** What a person should know of the error. */
  detail: string | null
}

/** `forbidden_address`: the target resolves to what may not be called, and nothing was sent. */
export type DeliveryError = "forbidden_address" | "timeout" | "connection" | "internal"

export interface RetryPolicy {
  firstTimeoutMs: number
  retryTimeoutMs: number
  retriesMax: number
  retryBaseMs: number
  retryDelayMaxMs: number
}

/** The delivery that a terminal request owes; null when it owes none. */
export function newDelivery(record: RequestRecord): Delivery | null {
  const { webhook, finishedAt } = record
  if (webhook === null) return null
  assert.ok(isTerminal(record.state) && finishedAt !== null)
  return {
    sequence: record.sequence,
    request: record.id,
    account: record.account,
    url: webhook,
    origin: new URL(webhook).origin,
    state: "pending",
    tries: 0,
    triesInRound: 0,
    nextAt: 0,
    createdAt: finishedAt,
    finishedAt: null,
  }
}

/**
 * What the delivery becomes after a try. `random` is from [0, 1) and spreads the retries of many by a quarter, so that a
 * receiver that comes back does not meet them all at once.
 */
export function deliveryAfterTry(
  delivery: Delivery,
  made: DeliveryTry,
  policy: Pick<RetryPolicy, "retriesMax" | "retryBaseMs" | "retryDelayMaxMs">,
  random: number,
): Delivery {
  const finishedAt = made.at + made.durationMs
  const tries = delivery.tries + 1
  const triesInRound = delivery.triesInRound + 1
  const tried = { ...delivery, tries, triesInRound }
  const state = stateAfter(made, triesInRound > policy.retriesMax)
  if (state !== "pending") return { ...tried, state, nextAt: null, finishedAt }
  const delayMs = Math.min(policy.retryDelayMaxMs, policy.retryBaseMs * 2 ** (triesInRound - 1))
  const nextAt = Math.round(finishedAt + delayMs * (0.75 + random / 2))
  return { ...tried, state, nextAt, finishedAt: null }
}

function stateAfter({ status, error }: DeliveryTry, isLast: boolean): DeliveryState {
  if (error === "forbidden_address") return "failed"
  const family = Math.floor((status ?? 0) / 100)
  // An answer that we could not take to its end proves nothing, except for a redirect, which is refused anyway.
  if (error === null && family === 2) return "delivered"
  if (family === 3) return "failed"
  return isLast ? "exhausted" : "pending"
}

/** A person asks for it once more: pending, at once, with all its retries. */
export function resendDelivery(delivery: Delivery): Delivery {
  return { ...delivery, state: "pending", triesInRound: 0, nextAt: 0, finishedAt: null }
}

/** How long the next try may take: a receiver that was too slow once gets more time. */
export function tryTimeoutMs(
  delivery: Pick<Delivery, "triesInRound">,
  policy: Pick<RetryPolicy, "firstTimeoutMs" | "retryTimeoutMs">,
): number {
  return delivery.triesInRound === 0 ? policy.firstTimeoutMs : policy.retryTimeoutMs
}

/** Longer URLs are refused. */
export const webhookUrlLengthMax = 4_096

/** An absolute http(s) URL in its normal form; null for anything else. */
export function parseWebhookUrl(text: string): string | null {
  if (text.length > webhookUrlLengthMax) return null
  const url = /^https?:\/\//i.test(text) ? URL.parse(text) : null
  if (url === null) return null
  url.hash = ""
  return url.href
}

/** A webhook's URL as a log or a list may show it: its userinfo and query may be credentials. */
export function redactWebhookUrl(text: string): string {
  const url = new URL(text)
  if (url.username !== "" || url.password !== "") {
    url.username = "redacted"
    url.password = ""
  }
  if (url.search !== "") url.search = "?redacted"
  return url.href
}
