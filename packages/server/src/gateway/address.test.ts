import { describe, expect, it } from "vitest"
import { reservedSegments } from "@tintype/protocol"
import {
  type Address,
  type AddressedCall,
  buildAddressResolver,
  isLoopbackAddress,
  placeByPrefix,
} from "./address.ts"

const plain = { publicUrl: null, trustProxy: [] }

function resolve(
  call: Partial<AddressedCall>,
  settings: { publicUrl: string | null; trustProxy: string[] } = plain,
) {
  return buildAddressResolver(settings)({
    host: "localhost:3250",
    url: "/",
    encrypted: false,
    peer: "127.0.0.1",
    forwardedHost: undefined,
    forwardedProto: undefined,
    ...call,
  })
}

function place(...args: Parameters<typeof resolve>): Address {
  const found = resolve(...args)
  if (found === null || "unserved" in found) throw new Error("no address")
  return found
}

describe("a foreign host names its surface", () => {
  it.each([
    ["fal.run", "run"],
    ["queue.fal.run", "queue"],
    ["ws.fal.run", "ws"],
    ["rest.fal.ai", "rest"],
    ["rest.alpha.fal.ai", "rest"],
    ["v3.fal.media", "files"],
    ["v3b.fal.media", "files"],
    ["fal.media", "files"],
    ["kv.fal.media", "kv"],
    ["api.fal.ai", "api"],
    ["fal.ai", "web"],
    ["falrun.com", "run"],
    ["queue.falrun.com", "queue"],
    ["QUEUE.fal.run:443", "queue"],
  ])("%s is %s", (host, surface) => {
    // No prefix and no reserved word applies there.
    const found = place({ host, url: "/queue/health?logs=1", encrypted: true })
    expect(found).toMatchObject({ surface, path: "/queue/health" })
    expect(found.query.get("logs")).toBe("1")
  })

  it.each(["wma.fal.run", "auth.fal.ai", "mcp.fal.ai", "api.alpha.fal.ai", "x.fal.media"])(
    "%s is refused by name",
    (host) => {
      expect(resolve({ host })).toEqual({ unserved: host })
    },
  )

  it("writes URLs of the foreign hosts in its answers", () => {
    expect(place({ host: "queue.fal.run", encrypted: true })).toMatchObject({
      runBase: "https://fal.run",
      statusBase: "https://queue.fal.run",
      fileBase: "https://v3b.fal.media/files",
    })
    expect(place({ host: "queue.falrun.com", encrypted: true })).toMatchObject({
      runBase: "https://falrun.com",
      statusBase: "https://queue.falrun.com",
    })
  })

  it("is not any host that ends like one", () => {
    expect(place({ host: "notfal.run", url: "/a/b" })).toMatchObject({ surface: "run" })
  })
})

describe("a subdomain of the configured host names its surface", () => {
  it.each([
    ["queue.localhost:3250", null, "queue", "http://queue.localhost:3250"],
    ["ws.localhost:3250", null, "ws", "http://queue.localhost:3250"],
    ["rest.localhost:3250", null, "rest", "http://queue.localhost:3250"],
    ["cdn.localhost:3250", null, "files", "http://queue.localhost:3250"],
    ["api.localhost:3250", null, "api", "http://queue.localhost:3250"],
    ["kv.localhost:3250", null, "kv", "http://queue.localhost:3250"],
    [
      "queue.media.example.com",
      "https://media.example.com",
      "queue",
      "https://queue.media.example.com",
    ],
  ])("%s with public URL %s is %s", (host, publicUrl, surface, statusBase) => {
    const found = place({ host, url: "/queue/x" }, { publicUrl, trustProxy: [] })
    expect(found).toMatchObject({ surface, path: "/queue/x", statusBase })
  })

  it("is one of that host only", () => {
    expect(place({ host: "queue.example.com", url: "/a/b" })).toMatchObject({ surface: "run" })
  })
})

describe("every other host goes by prefix", () => {
  it.each([
    ["/run/fal-ai/flux/dev", "run", "/fal-ai/flux/dev"],
    ["/queue/fal-ai/flux/dev", "queue", "/fal-ai/flux/dev"],
    ["/ws/fal-ai/flux", "ws", "/fal-ai/flux"],
    ["/rest/tokens/", "rest", "/tokens/"],
    ["/kv/get/a/b", "kv", "/get/a/b"],
    ["/queue", "queue", "/"],
    ["/files/abc.png", "files", "/files/abc.png"],
    ["/v1/models", "api", "/v1/models"],
    ["/api/fal/proxy", "own", "/api/fal/proxy"],
    ["/api/openapi/queue/openapi.json", "own", "/api/openapi/queue/openapi.json"],
    ["/console", "own", "/console"],
    ["/health", "own", "/health"],
    ["/metrics", "own", "/metrics"],
    ["/.well-known/x", "own", "/.well-known/x"],
    ["/_/link", "own", "/_/link"],
    ["/fal-ai/flux/dev", "run", "/fal-ai/flux/dev"],
    ["/queued/alias", "run", "/queued/alias"],
    ["/", "run", "/"],
  ])("%s is %s %s", (url, surface, path) => {
    expect(place({ url })).toMatchObject({ surface, path })
    expect(place({ host: "tintype.example.com", url })).toMatchObject({ surface, path })
  })

  it("takes no reserved word for an owner", () => {
    const taken = reservedSegments.filter((word) => {
      const { surface, path } = placeByPrefix(`/${word}/alias`)
      return surface === "run" && path === `/${word}/alias`
    })
    expect(taken).toEqual([])
  })
})

describe("URLs that we write", () => {
  it("begin with the Host of the call", () => {
    expect(place({ host: "127.0.0.1:9" })).toMatchObject({
      base: "http://127.0.0.1:9",
      runBase: "http://127.0.0.1:9",
      statusBase: "http://127.0.0.1:9/queue",
      fileBase: "http://127.0.0.1:9/files",
    })
    expect(place({ host: "[::1]:9", encrypted: true })).toMatchObject({ base: "https://[::1]:9" })
  })

  it("begin with the public URL when there is one", () => {
    const settings = { publicUrl: "https://media.example.com/", trustProxy: [] }
    expect(place({ host: "10.0.0.3:3250" }, settings)).toMatchObject({
      statusBase: "https://media.example.com/queue",
      fileBase: "https://media.example.com/files",
    })
  })

  it("believe X-Forwarded-* of a trusted proxy alone, and only what it wrote itself", () => {
    const forwarded = { forwardedHost: "forged.example, real.example", forwardedProto: "https" }
    const settings = { publicUrl: null, trustProxy: ["10.0.0.0/8", "fd00::/8", "192.0.2.7"] }
    for (const peer of ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "192.0.2.7"]) {
      expect(place({ ...forwarded, peer }, settings)).toMatchObject({
        base: "https://real.example",
      })
    }
    for (const peer of ["11.1.2.3", "fe80::1", "192.0.2.8", undefined]) {
      expect(place({ ...forwarded, peer }, settings)).toMatchObject({
        base: "http://localhost:3250",
      })
    }
  })
})

it.each([undefined, "", "a b", "exa mple", "a/b", "a@b", "host:port", "[::1", "-"])(
  "a call without a proper host has no address [%s]",
  (host) => {
    expect(resolve({ host })).toBeNull()
  },
)

it.each(["*", "nonsense"])("a target that is no path has no address [%s]", (url) => {
  expect(resolve({ url })).toBeNull()
})

it.each([
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["::1", true],
  ["::ffff:127.0.0.1", true],
  ["10.0.0.1", false],
  ["::ffff:10.0.0.1", false],
  ["0.0.0.0", false],
  ["127.0.0.1.example.com", false],
])("%s is loopback: %s", (address, expected) => {
  expect(isLoopbackAddress(address)).toBe(expected)
})
