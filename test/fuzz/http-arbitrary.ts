import * as fc from "fast-check"

/** Bytes that are nearly HTTP. */

const endpoints = [
  "tintype/echo",
  "fal-ai/flux/dev",
  "fal-ai/fast-sdxl",
  "nobody/knows",
  "workflows/a/b",
]
const ids = ["00000000-0000-4000-8000-000000000000", "..", "%00", "", "a".repeat(300)]

const knownPath = fc
  .tuple(fc.constantFrom("/queue", "/run", ""), fc.constantFrom(...endpoints), fc.nat(6))
  .chain(([door, endpoint, tail]) =>
    fc.constantFrom(...ids).map((id) => {
      const tails = [
        "",
        "/stream",
        "/realtime",
        `/requests/${id}`,
        `/requests/${id}/status?logs=1`,
        `/requests/${id}/status/stream`,
        `/requests/${id}/cancel`,
      ]
      return `${door}/${endpoint}${tails[tail]}`
    }),
  )

const fixedPath = fc.constantFrom(
  "/",
  "*",
  "/health?ready",
  "/api/fal/proxy",
  "/api/openapi/queue/openapi.json?endpoint_id=fal-ai/flux/dev",
  "/api/models?limit=-1&cursor=zz",
  "/v1/models?limit=1e9",
  "/_/link",
  "/_/requests?state=failed&limit=0",
  "/_/requests/x",
  "/_/webhooks?cursor=%F0%9F",
  "/_/webhooks/x/resend",
  "/_/keys",
  "/_/transfer/file",
  "/_/tls",
  "/tokens/",
  "/rest/tokens/",
  "/rest/storage/upload/initiate",
  "/rest/storage/upload/initiate-multipart",
  "/rest/storage/upload/complete-multipart",
  "/rest/storage/auth/token",
  "/storage/upload/initiate",
  "/files/upload",
  "/files/upload/multipart",
  "/files/b/00000000/a.png",
  "/files/b/00000000/a.png/upload/x.y",
  "/files/b/00000000/a.png/multipart/x.y/1",
  "/files/b/00000000/a.png/multipart/x.y/complete",
  "/files/b/00000000/a.png/sign",
  "/v1/storage/files/acl",
  "/v1/storage/settings",
  "http://queue.fal.run/tintype/echo",
)

const junkPath = fc
  .array(fc.constantFrom("/", "..", "%2e", "%", "%ZZ", "?", "#", "&", "a", "é", "\\", ";", "//"))
  .map((parts) => `/${parts.join("")}`)

const path = fc.oneof(
  { weight: 4, arbitrary: knownPath },
  { weight: 3, arbitrary: fixedPath },
  { weight: 1, arbitrary: junkPath },
)

const method = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"),
  },
  { weight: 1, arbitrary: fc.constantFrom("CONNECT", "TRACE", "get", "PRI", "", "M-SEARCH") },
)

const headerName = fc.constantFrom(
  "accept",
  "authorization",
  "connection",
  "content-range",
  "content-type",
  "content-encoding",
  "cookie",
  "expect",
  "forwarded",
  "host",
  "idempotency-key",
  "if-none-match",
  "if-range",
  "last-event-id",
  "origin",
  "prefer",
  "range",
  "sec-fetch-site",
  "sec-websocket-key",
  "sec-websocket-version",
  "te",
  "transfer-encoding",
  "upgrade",
  "x-fal-file-name",
  "x-fal-needs-retry",
  "x-fal-no-retry",
  "x-fal-object-lifecycle",
  "x-fal-object-lifecycle-preference",
  "x-fal-queue-priority",
  "x-fal-request-timeout",
  "x-fal-runner-hint",
  "x-fal-store-io",
  "x-fal-target-url",
  "x-forwarded-for",
)

const headerValue = fc.oneof(
  fc.constantFrom(
    "",
    "0",
    "-1",
    "1e308",
    "NaN",
    "null",
    "{}",
    "[",
    "*",
    "wait=1",
    "wait=99999999999",
    "bytes=5-1",
    "bytes=0-,5-9",
    "application/json",
    "multipart/form-data; boundary=b",
    "text/event-stream",
    "websocket",
    "close",
    "100-continue",
    "chunked",
    "https://queue.fal.run/tintype/echo",
    `{"expiration_duration_seconds": -1}`,
    `{"initial_acl": {"default": "x", "rules": 3}}`,
    "Key a:b",
    "Bearer x.y.z",
    "é".repeat(20),
    "x".repeat(9_000),
  ),
  fc.string({ maxLength: 40 }).map((text) => text.replaceAll(/[\r\n]/g, " ")),
)

const header = fc.tuple(headerName, headerValue).map(([name, value]) => `${name}: ${value}\r\n`)

const jsonText = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.constantFrom("", "{", "nul", '"\\ud800"', "[".repeat(2_000), `{"a":1,"a":2}`, "1e999"),
)

const multipart = fc
  .array(fc.tuple(fc.string({ maxLength: 12 }), fc.string({ maxLength: 30 })), { maxLength: 3 })
  .map(
    (parts) =>
      parts
        .map(
          ([name, value]) =>
            `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
        )
        .join("") + (parts.length === 2 ? "" : "--b--\r\n"),
  )

const body = fc.oneof(jsonText, multipart, fc.string({ maxLength: 200 }))

/** How the length of a body is told, rightly or not. */
export const framed = fc.tuple(body, fc.nat(7), fc.nat(20)).map(([text, framing, offset]) => {
  const bytes = Buffer.from(text)
  const length = bytes.byteLength
  const chunk = `${length.toString(16)}\r\n${text}\r\n`
  const framings: [head: string, body: string][] = [
    ["", ""],
    [`content-length: ${length}\r\n`, text],
    [`content-length: ${length}\r\n`, text],
    [`content-length: ${length + offset}\r\n`, text],
    [`content-length: ${Math.max(0, length - offset)}\r\n`, text],
    ["transfer-encoding: chunked\r\n", length === 0 ? "0\r\n\r\n" : `${chunk}0\r\n\r\n`],
    ["transfer-encoding: chunked\r\n", `${chunk}zz\r\n`],
    [`content-length: ${length}\r\ntransfer-encoding: chunked\r\n`, chunk],
  ]
  return framings[framing]!
})

/** What is said of a file before its bytes come. */
export const announcement = fc.record(
  {
    content_type: fc.oneof(fc.constantFrom("image/png", "x", "a/b; c=d"), fc.jsonValue()),
    file_name: fc.oneof(
      fc.constantFrom("a.png", "../../x", "\u0000", "é".repeat(300)),
      fc.jsonValue(),
    ),
  },
  { requiredKeys: [] },
)

/** What ends a file in parts. */
export const completion = fc.oneof(
  fc.record({
    parts: fc.array(
      fc.record({ partNumber: fc.oneof(fc.nat(3), fc.jsonValue()), etag: fc.jsonValue() }),
      {
        maxLength: 3,
      },
    ),
  }),
  fc.jsonValue(),
)

const call = fc
  .record({
    method,
    path,
    version: fc.constantFrom("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", ""),
    host: fc.constantFrom(
      "host: 127.0.0.1\r\n",
      "host: localhost\r\n",
      "",
      "host: evil.example\r\n",
    ),
    headers: fc.array(header, { maxLength: 5 }),
    framed,
  })
  .map(
    ({ method: verb, path: target, version, host, headers, framed: [length, text] }) =>
      `${verb} ${target} ${version}\r\n${host}${headers.join("")}${length}\r\n${text}`,
  )

/** One to three calls on one connection, sometimes cut short, sometimes with a byte changed. */
export const connection = fc
  .record({
    calls: fc.array(call, { minLength: 1, maxLength: 3 }),
    cut: fc.option(fc.nat(100), { freq: 6 }),
    flip: fc.option(fc.tuple(fc.nat(400), fc.nat(255)), { freq: 6 }),
    ends: fc.boolean(),
  })
  .map(({ calls, cut, flip, ends }) => {
    const bytes = Buffer.from(calls.join(""))
    if (flip !== null && bytes.byteLength > 0) bytes[flip[0] % bytes.byteLength] = flip[1]
    const kept = cut === null ? bytes.byteLength : Math.floor((bytes.byteLength * cut) / 100)
    return { bytes: bytes.subarray(0, kept), ends }
  })
