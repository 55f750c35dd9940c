import { AssertionError } from "node:assert"
import { beforeEach, describe, expect, test } from "vitest"
import {
  type Delivery,
  deliveryAfterTry,
  type DeliveryTry,
  newDelivery,
  parseWebhookUrl,
  redactWebhookUrl,
  resendDelivery,
  tryTimeoutMs,
  webhookUrlLengthMax,
} from "./delivery.ts"
import type { RequestRecord } from "./request.ts"

const policy = {
  firstTimeoutMs: 15_000,
  retryTimeoutMs: 120_000,
  retriesMax: 31,
  retryBaseMs: 2_000,
  retryDelayMaxMs: 3_600_000,
}

const finished = {
  id: "r1",
  sequence: 7,
  account: "local",
  state: "succeeded",
  finishedAt: 500,
  webhook: "https://example.com:8443/hook?token=1",
} as RequestRecord

let fresh: Delivery
beforeEach(() => {
  fresh = newDelivery(finished)!
})

function made(fields: Partial<DeliveryTry> = {}): DeliveryTry {
  const none = { status: null, answer: "", error: null, detail: null }
  return { at: 1_000, durationMs: 100, ...none, ...fields }
}

function after(delivery: Delivery, fields: Partial<DeliveryTry>, random = 0.5): Delivery {
  return deliveryAfterTry(delivery, made(fields), policy, random)
}

describe("a delivery", () => {
  test("is owed by a terminal request that names a webhook, at once", () => {
    expect(fresh).toEqual({
      sequence: 7,
      request: "r1",
      account: "local",
      url: "https://example.com:8443/hook?token=1",
      origin: "https://example.com:8443",
      state: "pending",
      tries: 0,
      triesInRound: 0,
      nextAt: 0,
      createdAt: 500,
      finishedAt: null,
    })
    expect(newDelivery({ ...finished, webhook: null })).toBeNull()
  })

  test.each(["queued", "running"] as const)("is never owed by a request that is %s", (state) => {
    expect(() => newDelivery({ ...finished, state })).toThrow(AssertionError)
  })

  test("is never owed by a request that has no end", () => {
    expect(() => newDelivery({ ...finished, finishedAt: null })).toThrow(AssertionError)
  })
})

describe("after a try", () => {
  test.each([
    [200, "delivered"],
    [204, "delivered"],
    [299, "delivered"],
    [300, "failed"],
    [399, "failed"],
    [199, "pending"],
    [400, "pending"],
    [404, "pending"],
    [500, "pending"],
  ] as const)("that was answered %i it is %s", (status, state) => {
    const next = after(fresh, { status })
    const ended = state !== "pending"
    expect(next).toMatchObject({ state, tries: 1, triesInRound: 1 })
    expect(next.finishedAt).toBe(ended ? 1_100 : null)
    expect(next.nextAt === null).toBe(ended)
  })

  test.each([
    ["connection", null, "pending"],
    ["timeout", null, "pending"],
    ["internal", null, "pending"],
    ["connection", 200, "pending"],
    ["connection", 302, "failed"],
    ["forbidden_address", null, "failed"],
  ] as const)("that ended with %s (status %s) it is %s", (error, status, state) => {
    expect(after(fresh, { error, status }).state).toBe(state)
  })

  test("waits twice as long each time, up to the maximum", () => {
    const delays: number[] = []
    let delivery = fresh
    for (let tries = 0; tries < 31; tries += 1) {
      delivery = after(delivery, { status: 500 })
      delays.push((delivery.nextAt ?? 0) - 1_100)
    }
    expect(delays.slice(0, 4)).toEqual([2_000, 4_000, 8_000, 16_000])
    expect(delays[10]).toBe(2_048_000)
    expect(delays.slice(11)).toEqual(Array.from({ length: 20 }, () => 3_600_000))
  })

  test("is spread by a quarter either way", () => {
    expect(after(fresh, { status: 500 }, 0).nextAt).toBe(1_100 + 1_500)
    expect(after(fresh, { status: 500 }, 0.999_999).nextAt).toBe(1_100 + 2_500)
  })

  test("31 retries follow the first try, then it is exhausted", () => {
    let delivery = fresh
    for (let tries = 1; tries <= 31; tries += 1) delivery = after(delivery, { status: 500 })
    expect(delivery).toMatchObject({ state: "pending", tries: 31 })
    expect(after(delivery, { status: 200 }).state).toBe("delivered")
    delivery = after(delivery, { status: 500 })
    expect(delivery).toMatchObject({
      state: "exhausted",
      tries: 32,
      nextAt: null,
      finishedAt: 1_100,
    })
  })

  test("the first may take 15 s, later ones 120 s", () => {
    expect(tryTimeoutMs(fresh, policy)).toBe(15_000)
    expect(tryTimeoutMs(after(fresh, { status: 500 }), policy)).toBe(120_000)
  })
})

test("sent again, it has all its retries and keeps the count of its tries", () => {
  let delivery = fresh
  for (let tries = 1; tries <= 32; tries += 1) delivery = after(delivery, { status: 500 })
  expect(resendDelivery(delivery)).toEqual({ ...fresh, tries: 32 })
  expect(after(resendDelivery(delivery), { status: 500 })).toMatchObject({
    state: "pending",
    tries: 33,
    triesInRound: 1,
  })
})

describe("a webhook's URL", () => {
  test.each([
    ["https://example.com/hook?a=b", "https://example.com/hook?a=b"],
    ["http://u:p@example.com", "http://u:p@example.com/"],
    ["HTTPS://Example.com/x#part", "https://example.com/x"],
  ])("%s is taken", (text, url) => {
    expect(parseWebhookUrl(text)).toBe(url)
  })

  test.each([
    "",
    "example.com/hook",
    "/hook",
    "https:/example.com",
    "https://",
    "http://exa mple.com",
    "ftp://example.com",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "ftp://example.com/https://example.com",
    " https://example.com",
    `https://example.com/${"x".repeat(webhookUrlLengthMax)}`,
  ])("%s is not", (text) => {
    expect(parseWebhookUrl(text)).toBeNull()
  })

  test("may be as long as the limit", () => {
    const longest = "https://e.com/".padEnd(webhookUrlLengthMax, "x")
    expect(parseWebhookUrl(longest)).toBe(longest)
  })

  test.each([
    ["https://u:p@example.com/hook?token=1", "https://redacted@example.com/hook?redacted"],
    ["https://:p@example.com/", "https://redacted@example.com/"],
    ["https://u@example.com/", "https://redacted@example.com/"],
    ["https://example.com/hook", "https://example.com/hook"],
  ])("%s is shown without what may be a credential", (url, shown) => {
    expect(redactWebhookUrl(url)).toBe(shown)
  })
})
