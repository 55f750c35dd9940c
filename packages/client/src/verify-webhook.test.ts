import { once } from "node:events"
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { makeWebhookKey, signWebhook, webhookHeaders, type WebhookKeyPair } from "@tintype/protocol"
import { afterEach, describe, expect, it } from "vitest"
import { type ReceivedWebhook, verifyWebhook, WebhookVerificationError } from "./index.ts"

const [key, other] = [await makeWebhookKey(), await makeWebhookKey()]
const requestId = "764cabcf-b745-4b3e-ae38-1200304cf45b"
const text = '{"error": null, "payload": {"seed":18446744073709551615}, "é": "ü"}'
const now = 1_700_000_000_500

async function signed(by = key, timestamp = "1700000000") {
  const body = new TextEncoder().encode(text)
  const fields = { requestId, userId: "local", timestamp, body }
  const headers: Record<string, string> = {
    [webhookHeaders.requestId]: requestId,
    [webhookHeaders.userId]: "local",
    [webhookHeaders.timestamp]: timestamp,
    [webhookHeaders.signature]: await signWebhook(fields, by),
  }
  return { headers, body, now }
}

async function codeOf(received: ReceivedWebhook): Promise<string> {
  try {
    await verifyWebhook(received)
    return "none"
  } catch (error) {
    return error instanceof WebhookVerificationError ? error.code : String(error)
  }
}

function later(hours: number): number {
  return now + hours * 3_600_000
}

function stamp(at: number): string {
  return String(Math.floor(at / 1_000))
}

describe("verifyWebhook", () => {
  it("tells the request of a webhook that the key vouches for, whatever holds its headers and body", async () => {
    const { headers, body } = await signed()
    const jwks = { keys: [key] }
    const verified = { requestId, timestamp: 1_700_000_000 }
    expect(await verifyWebhook({ headers, body, jwks, now })).toEqual(verified)
    expect(await verifyWebhook({ headers, body: text, jwks, now })).toEqual(verified)
    expect(await verifyWebhook({ headers: new Headers(headers), body, jwks, now })).toEqual(
      verified,
    )
    const wire = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toUpperCase(), [value]]),
    )
    expect(await verifyWebhook({ headers: wire, body, jwks, now })).toEqual(verified)
  })

  it("tries every key", async () => {
    const received = await signed(other)
    expect(await codeOf({ ...received, jwks: { keys: [key] } })).toBe("bad_signature")
    const jwks = { keys: [key, other] }
    expect(await verifyWebhook({ ...received, jwks })).toMatchObject({ requestId })
  })

  it.each([
    ["body", { body: text.replace("18446744073709551615", "18446744073709551616") }],
    ["body, by a space", { body: `${text} ` }],
  ])("refuses a changed %s", async (_, change) => {
    const received = await signed()
    expect(await codeOf({ ...received, ...change, jwks: { keys: [key] } })).toBe("bad_signature")
  })

  it.each([
    [webhookHeaders.requestId, "another"],
    [webhookHeaders.userId, "another"],
    [webhookHeaders.timestamp, "1700000001"],
    [webhookHeaders.signature, "00".repeat(64)],
    [webhookHeaders.signature, "nonsense"],
  ])("refuses a changed header %s: %s", async (name, value) => {
    const { headers, ...received } = await signed()
    const changed = { ...headers, [name]: value }
    expect(await codeOf({ ...received, headers: changed, jwks: { keys: [key] } })).toBe(
      "bad_signature",
    )
  })

  it.each(Object.values(webhookHeaders))(
    "refuses a missing, an empty and a repeated %s",
    async (name) => {
      const { headers, ...received } = await signed()
      for (const value of [undefined, "", [headers[name] ?? "", "again"]]) {
        const changed = { ...headers, [name]: value }
        expect(await codeOf({ ...received, headers: changed, jwks: { keys: [key] } })).toBe(
          "malformed",
        )
      }
    },
  )

  it.each(["", "-1", "1e9", "17000000000000", "now"])(
    "refuses the timestamp %s",
    async (timestamp) => {
      const received = await signed(key, timestamp)
      expect(await codeOf({ ...received, jwks: { keys: [key] } })).toBe("malformed")
    },
  )

  it.each([
    ["1699999700", undefined, "none"],
    ["1699999699", undefined, "expired"],
    ["1700000300", undefined, "none"],
    ["1700000301", undefined, "expired"],
    ["1699999699", 301, "none"],
    ["1699999999", 0, "expired"],
    ["1700000000", Number.NaN, "expired"],
  ])("of the timestamp %s with a tolerance of %s s says %s", async (timestamp, tolerance, code) => {
    const received = { ...(await signed(key, timestamp)), jwks: { keys: [key] } }
    const given = tolerance === undefined ? received : { ...received, toleranceSeconds: tolerance }
    expect(await codeOf(given)).toBe(code)
  })

  it("says that it needs keys", async () => {
    await expect(verifyWebhook(await signed())).rejects.toThrow("needs jwks or jwksUrl")
  })
})

describe("keys that are read from a URL", () => {
  const servers: Server[] = []

  afterEach(() => {
    for (const server of servers.splice(0)) server.closeAllConnections()
  })

  async function serve(answers: { keys: WebhookKeyPair[] }) {
    let reads = 0
    const server = createServer((_, response) => {
      reads += 1
      const keys = answers.keys.map(({ kty, crv, x }) => ({ kty, crv, x }))
      response.end(JSON.stringify({ keys: [null, { kty: "RSA" }, ...keys] }))
    })
    servers.push(server)
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    return { jwksUrl: `http://127.0.0.1:${port}/jwks.json`, reads: () => reads }
  }

  it("are read once a day", async () => {
    const { jwksUrl, reads } = await serve({ keys: [key] })
    await Promise.all(
      Array.from({ length: 5 }, async () => verifyWebhook({ ...(await signed()), jwksUrl })),
    )
    expect(reads()).toBe(1)
    for (const hours of [23, 25]) {
      const at = later(hours)
      const received = await signed(key, stamp(at))
      await verifyWebhook({ ...received, jwksUrl: new URL(jwksUrl), now: at })
    }
    expect(reads()).toBe(2)
  })

  it("are read again for a signature that they do not fit, but not for every forgery", async () => {
    const answers = { keys: [key] }
    const { jwksUrl, reads } = await serve(answers)
    await verifyWebhook({ ...(await signed()), jwksUrl })
    answers.keys = [other]
    expect(await codeOf({ ...(await signed(other)), jwksUrl })).toBe("bad_signature")
    expect(reads()).toBe(1)
    const at = later(1)
    const received = { ...(await signed(other, stamp(at))), now: at, jwksUrl }
    expect(await verifyWebhook(received)).toMatchObject({ requestId })
    expect(reads()).toBe(2)
  })

  it.each([
    ["are not there", (response: ServerResponse) => response.writeHead(404).end()],
    ["are no JSON", (response: ServerResponse) => response.end("<html>")],
    ["are no set", (response: ServerResponse) => response.end("[]")],
    ["are too long", (response: ServerResponse) => response.end("x".repeat(1e6))],
    ["are cut off", (response: ServerResponse) => response.destroy()],
  ])("and %s are an error of their own", async (_, answer) => {
    const server = createServer((__, response) => void answer(response))
    servers.push(server)
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    const jwksUrl = `http://127.0.0.1:${port}/`
    expect(await codeOf({ ...(await signed()), jwksUrl })).toBe("keys_unavailable")
  })
})
