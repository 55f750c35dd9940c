import { describe, expect, it } from "vitest"
import { type CallFacts, corsHeaders, preflightHeaders, refuseInOpenMode } from "./open-mode.ts"

const settings = {
  allowedOrigins: ["https://app.example.com"],
  configuredHost: "tintype.example.com",
}

interface Case {
  title: string
  call: Partial<CallFacts>
  expected: number | null
}

function status({ call }: Case): number | null {
  const facts: CallFacts = {
    method: "POST",
    peer: "127.0.0.1",
    servesForeignHosts: false,
    publicFile: false,
    ...call,
    headers: { host: "127.0.0.1:3250", ...call.headers },
  }
  return refuseInOpenMode(facts, settings)?.status ?? null
}

const cases: Record<string, Case[]> = {
  "serves a call only if the socket is loopback": [
    { title: "IPv4", call: { peer: "127.0.0.1" }, expected: null },
    { title: "another loopback address", call: { peer: "127.0.0.53" }, expected: null },
    { title: "IPv6", call: { peer: "::1" }, expected: null },
    { title: "IPv4 in IPv6", call: { peer: "::ffff:127.0.0.1" }, expected: null },
    { title: "private network", call: { peer: "192.168.0.9" }, expected: 403 },
    { title: "public", call: { peer: "203.0.113.9" }, expected: 403 },
    { title: "socket already gone", call: { peer: undefined }, expected: 403 },
  ],
  "answers for loopback names and the configured host only": [
    { title: "localhost", call: { headers: { host: "localhost:3250" } }, expected: null },
    { title: "localhost in capitals", call: { headers: { host: "LOCALHOST" } }, expected: null },
    { title: "*.localhost", call: { headers: { host: "queue.localhost:3250" } }, expected: null },
    { title: "127.0.0.1", call: { headers: { host: "127.0.0.1" } }, expected: null },
    { title: "another loopback IP", call: { headers: { host: "127.1.2.3:1" } }, expected: null },
    { title: "[::1]", call: { headers: { host: "[::1]:3250" } }, expected: null },
    { title: "configured", call: { headers: { host: "tintype.example.com" } }, expected: null },
    {
      title: "a name that was rebound to us",
      call: { headers: { host: "evil.example" } },
      expected: 421,
    },
    {
      title: "a name that begins like ours",
      call: { headers: { host: "127.0.0.1.evil.example" } },
      expected: 421,
    },
    {
      title: "a name that ends like ours",
      call: { headers: { host: "evillocalhost" } },
      expected: 421,
    },
    { title: "a private IP", call: { headers: { host: "192.168.0.9" } }, expected: 421 },
    { title: "0.0.0.0", call: { headers: { host: "0.0.0.0:3250" } }, expected: 421 },
    { title: "none", call: { headers: { host: undefined } }, expected: 421 },
    { title: "nonsense", call: { headers: { host: "a b" } }, expected: 421 },
  ],
  "answers for a foreign host on the TLS listener only": [
    { title: "plain listener", call: { headers: { host: "queue.fal.run" } }, expected: 421 },
    {
      title: "TLS listener",
      call: { headers: { host: "queue.fal.run" }, servesForeignHosts: true },
      expected: null,
    },
    {
      title: "TLS listener, another fal host",
      call: { headers: { host: "wma.fal.run" }, servesForeignHosts: true },
      expected: 421,
    },
    {
      title: "TLS listener, any host",
      call: { headers: { host: "evil.example" }, servesForeignHosts: true },
      expected: 421,
    },
  ],
  "refuses what a proxy forwarded": [
    ...["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"].map(
      (name) => ({ title: name, call: { headers: { [name]: "x" } }, expected: 403 }),
    ),
    { title: "x-forward", call: { headers: { "x-forward": "x" } }, expected: null },
  ],
  "serves pages of loopback and of allowed origins": [
    { title: "localhost", call: { headers: { origin: "http://localhost:5173" } }, expected: null },
    { title: "127.0.0.1", call: { headers: { origin: "http://127.0.0.1:8080" } }, expected: null },
    { title: "[::1]", call: { headers: { origin: "http://[::1]:8080" } }, expected: null },
    { title: "*.localhost", call: { headers: { origin: "https://a.localhost" } }, expected: null },
    { title: "allowed", call: { headers: { origin: "https://app.example.com" } }, expected: null },
    {
      title: "allowed, other scheme",
      call: { headers: { origin: "http://app.example.com" } },
      expected: 403,
    },
    { title: "elsewhere", call: { headers: { origin: "https://evil.example" } }, expected: 403 },
    {
      title: "ends like ours",
      call: { headers: { origin: "https://evillocalhost" } },
      expected: 403,
    },
    {
      title: "begins like ours",
      call: { headers: { origin: "http://localhost.evil.example" } },
      expected: 403,
    },
    { title: "null, as of a sandboxed page", call: { headers: { origin: "null" } }, expected: 403 },
    { title: "empty", call: { headers: { origin: "" } }, expected: 403 },
    {
      title: "elsewhere, upgrading",
      call: { method: "GET", headers: { origin: "https://evil.example", upgrade: "websocket" } },
      expected: 403,
    },
    {
      title: "elsewhere, reading a file",
      call: { method: "GET", publicFile: true, headers: { origin: "https://evil.example" } },
      expected: 403,
    },
  ],
  "refuses cross-site calls without an origin, except reads of public files": [
    { title: "POST", call: { headers: { "sec-fetch-site": "cross-site" } }, expected: 403 },
    {
      title: "GET",
      call: { method: "GET", headers: { "sec-fetch-site": "cross-site" } },
      expected: 403,
    },
    {
      title: "GET of a file",
      call: { method: "GET", publicFile: true, headers: { "sec-fetch-site": "cross-site" } },
      expected: null,
    },
    {
      title: "POST of a file",
      call: { publicFile: true, headers: { "sec-fetch-site": "cross-site" } },
      expected: 403,
    },
    ...["same-origin", "same-site", "none"].map((site) => ({
      title: site,
      call: { headers: { "sec-fetch-site": site } },
      expected: null,
    })),
  ],
}

for (const [sentence, rows] of Object.entries(cases)) {
  describe(`open mode ${sentence}`, () => {
    it.each(rows)("$title → $expected", (row) => {
      expect(status(row)).toBe(row.expected)
    })
  })
}

it("a forwarded call is told to create a key", () => {
  const refused = refuseInOpenMode(
    {
      method: "POST",
      peer: "::1",
      headers: { host: "localhost", via: "1.1 proxy" },
      servesForeignHosts: false,
      publicFile: false,
    },
    settings,
  )
  expect(refused?.detail).toContain("create a key")
})

describe("CORS", () => {
  const open = { ...settings, open: true }

  it.each(["http://localhost:5173", "https://app.example.com"])("reflects %s", (origin) => {
    const headers = corsHeaders({ origin }, open, ["x-fal-billable-units", "x-other"])
    expect(headers).toMatchObject({ "access-control-allow-origin": origin, vary: "origin" })
    expect(headers["access-control-expose-headers"]).toBe(
      "x-fal-request-id, etag, content-range, retry-after, x-fal-billable-units",
    )
    expect(headers).not.toHaveProperty("access-control-allow-credentials")
  })

  it.each(["https://evil.example", "null", undefined])("does not reflect %s", (origin) => {
    expect(corsHeaders({ origin }, open, ["x-fal-billable-units", "x-other"])).toEqual({
      vary: "origin",
    })
  })

  it("with keys is for everyone, without credentials", () => {
    const headers = corsHeaders(
      { origin: "https://evil.example" },
      { ...settings, open: false },
      [],
    )
    expect(headers["access-control-allow-origin"]).toBe("*")
    expect(headers).not.toHaveProperty("access-control-allow-credentials")
  })

  it("a preflight echoes the asked headers", () => {
    const asked = {
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,x-fal-queue-priority",
    }
    const told = preflightHeaders("OPTIONS", asked)
    expect(told?.["access-control-allow-headers"]).toBe("authorization,x-fal-queue-priority")
    expect(told?.["access-control-allow-methods"]).toContain("PUT")
    expect(preflightHeaders("OPTIONS", {})).toBeNull()
    expect(preflightHeaders("POST", asked)).toBeNull()
  })
})
