import { describe, expect, test } from "vitest"
import {
  allowedFromApp,
  appHeaders,
  parseFlag,
  parsePrefer,
  parseStartTimeout,
  requestHeaders,
  responseHeaders,
  strippedFromCaller,
} from "./headers.ts"
import { findForeignSurface, foreignHosts, hostPrefixes, reservedSegments } from "./hosts.ts"

test("header names are in lower case", () => {
  const names = [requestHeaders, responseHeaders, appHeaders].flatMap((group) =>
    Object.values(group),
  )
  expect(names).toEqual(names.map((name) => name.toLowerCase()))
})

describe("Prefer", () => {
  test.each([
    ["wait=10", 10],
    ["Wait = 10", 10],
    ['wait="10"', 10],
    ["wait=0", 0],
    ["wait=61", 60],
    ["wait=99999999999999999999", 60],
    ["respond-async, wait=30", 30],
    ["return=minimal; foo=bar, wait=5; x=y", 5],
    ['foo="a, wait=7", wait=3', 3],
    ["wait=1, wait=2", 1],
    ['odd", wait=4', 4],
    [" , ,wait=9", 9],
  ])("%s asks for %s", (value, seconds) => {
    expect(parsePrefer(value)).toBe(seconds)
  })

  test.each([
    null,
    undefined,
    "",
    "respond-async",
    "wait",
    "wait=",
    "wait=-1",
    "wait=1.5",
    "wait=abc",
    'wait="5',
    "waiter=5",
    'foo="wait=5"',
  ])("%s asks for no wait", (value) => {
    expect(parsePrefer(value)).toBeNull()
  })

  test("a hostile value is read at once", () => {
    const before = performance.now()
    expect(parsePrefer('"a'.repeat(100_000))).toBeNull()
    expect(parsePrefer('"\\'.repeat(100_000))).toBeNull()
    expect(performance.now() - before).toBeLessThan(1_000)
  })
})

describe("from the caller to the app", () => {
  test.each([
    "X-Fal-Request-Timeout",
    "x-fal-no-retry",
    "x-fal-anything",
    "x-tintype-resubmission",
    "Authorization",
    "cookie",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
    "expect",
    "accept-encoding",
    "forwarded",
    "via",
    "x-forwarded-for",
    "sec-websocket-key",
    "__proto__",
    "",
    "bad name",
    "bad:name",
  ])("%j stops at the gateway", (name) => {
    expect(strippedFromCaller(name)).toBe(true)
  })

  test.each([
    "content-type",
    "accept",
    "user-agent",
    "x-app-fal-disable-fallback",
    "x-app-fal-can-disable-filter",
    "x-my-header",
    "x-falcon",
    "traceparent",
  ])("%j goes on", (name) => {
    expect(strippedFromCaller(name)).toBe(false)
  })
})

describe("from the app to the caller", () => {
  test.each([
    "set-cookie",
    "Content-Security-Policy",
    "content-security-policy-report-only",
    "access-control-allow-origin",
    "strict-transport-security",
    "clear-site-data",
    "service-worker-allowed",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "trailer",
    "upgrade",
    "x-tintype-anything",
    "x-fal-request-id",
    "x-fal-stop-runner",
    "x-fal-runner-health-check",
    "__proto__",
    "bad name",
    "bad\r\nname",
  ])("%j stops at the gateway", (name) => {
    expect(allowedFromApp(name, 200)).toBe(false)
    expect(allowedFromApp(name)).toBe(false)
  })

  test.each([
    "content-type",
    "Location",
    "etag",
    "x-fal-billable-units",
    "x-fal-runner-hints",
    "x-fal-served-from",
    "x-fal-cdn-token",
    "x-fal-error-type",
    "x-fal-retryable",
    "x-my-header",
  ])("%j goes on", (name) => {
    expect(allowedFromApp(name, 200)).toBe(true)
    expect(allowedFromApp(name)).toBe(true)
  })

  test("a wish for a retry passes only with a 5xx or a 429", () => {
    const statuses = [500, 503, 429, 200, 400, 422, 499]
    const passing = statuses.filter((status) => allowedFromApp("X-Fal-Needs-Retry", status))
    expect(passing).toEqual([500, 503, 429])
    expect(allowedFromApp("X-Fal-Needs-Retry")).toBe(true)
  })
})

describe("hosts", () => {
  test.each([
    ["fal.run", "run"],
    ["queue.fal.run", "queue"],
    ["ws.fal.run", "ws"],
    ["rest.fal.ai", "rest"],
    ["rest.alpha.fal.ai", "rest"],
    ["v3.fal.media", "cdn"],
    ["v3b.fal.media", "cdn"],
    ["fal.media", "cdn"],
    ["kv.fal.media", "kv"],
    ["api.fal.ai", "api"],
    ["fal.ai", "web"],
    ["falrun.com", "run"],
    ["queue.falrun.com", "queue"],
    ["QUEUE.fal.run.", "queue"],
    ["wma.fal.run", "unknown"],
    ["mcp.fal.ai", "unknown"],
    ["evil.fal.media", "unknown"],
    ["notfal.run", null],
    ["fal.run.example.com", null],
    ["localhost", null],
    ["constructor", null],
  ])("%s stands for %s", (host, surface) => {
    expect(findForeignSurface(host)).toBe(surface)
  })

  test("the table of foreign hosts has no other entry", () => {
    expect(Object.keys(foreignHosts)).toHaveLength(13)
    expect(hostPrefixes).toEqual(["queue", "ws", "rest", "cdn", "api", "kv"])
  })

  test("every fixed first segment is reserved, once", () => {
    const wanted = ["run", "queue", "ws", "rest", "kv", "files", "v1", "api", "console", "health"]
    expect(reservedSegments).toEqual([...wanted, "metrics", ".well-known", "_"])
  })
})

test.each([
  ["30", 30_000],
  ["30.0", 30_000],
  [" 1.5 ", 1_500],
  [".25", 250],
  ["1e2", 100_000],
  ["0.1", 100],
  ["0.0999", 100],
  ["0.099", null],
  ["0", null],
  ["-5", null],
  ["Infinity", null],
  ["0x10", null],
  ["1 s", null],
  ["", null],
])("a start timeout of %j is %s milliseconds", (text, milliseconds) => {
  expect(parseStartTimeout({ "x-fal-request-start-timeout": text })).toBe(milliseconds)
  expect(parseStartTimeout({ "x-fal-request-timeout": text })).toBe(milliseconds)
})

test("of two start timeouts the newer name wins, where it is well-formed; far ones are bounded", () => {
  const older = { "x-fal-request-timeout": "7" }
  expect(parseStartTimeout({ ...older, "x-fal-request-start-timeout": "3" })).toBe(3_000)
  expect(parseStartTimeout({ ...older, "x-fal-request-start-timeout": "never" })).toBeNull()
  expect(parseStartTimeout({ "x-fal-request-start-timeout": ["3", "4"] })).toBeNull()
  expect(parseStartTimeout({ "x-fal-request-timeout": "9e300" })).toBe(315_360_000_000)
})

test.each([
  ["1", true],
  ["TRUE", true],
  [" yes", true],
  ["0", false],
  ["false", false],
  ["no", false],
  ["2", null],
  ["", null],
  [undefined, null],
])("the flag %j is %s", (text, flag) => {
  expect(parseFlag(text)).toBe(flag)
})
