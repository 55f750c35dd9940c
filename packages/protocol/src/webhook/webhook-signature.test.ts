import { createHash, createPublicKey, verify } from "node:crypto"
import { describe, expect, it } from "vitest"
import {
  isSignedWebhook,
  makeWebhookKey,
  signWebhook,
  type SignedWebhook,
  webhookMessage,
} from "./webhook-signature.ts"

const encode = (text: string) => new TextEncoder().encode(text)

const signed: SignedWebhook = {
  requestId: "764cabcf-b745-4b3e-ae38-1200304cf45b",
  userId: "local",
  timestamp: "1700000000",
  body: encode('{"status": "OK"}'),
}

describe("a webhook's signature", () => {
  it("is over four lines: id, user, timestamp, SHA-256 of the body in hex", async () => {
    const digest = createHash("sha256").update('{"status": "OK"}').digest("hex")
    expect(new TextDecoder().decode(await webhookMessage(signed))).toBe(
      `764cabcf-b745-4b3e-ae38-1200304cf45b\nlocal\n1700000000\n${digest}`,
    )
  })

  it("is one that others verify (node:crypto, as receivers do it)", async () => {
    const { kty, crv, x, d, kid } = await makeWebhookKey()
    const signature = await signWebhook(signed, { kty, crv, x, d })
    expect(signature).toMatch(/^[0-9a-f]{128}$/)
    expect(kid).toBe(x.slice(0, 16))
    const key = createPublicKey({ key: { kty, crv, x }, format: "jwk" })
    const message = await webhookMessage(signed)
    expect(verify(null, message, key, Buffer.from(signature, "hex"))).toBe(true)
  })

  it("is verified by whichever of several keys it was made with, broken ones passed over", async () => {
    const [one, other, third] = [
      await makeWebhookKey(),
      await makeWebhookKey(),
      await makeWebhookKey(),
    ]
    const signature = await signWebhook(signed, other)
    const broken = { ...one, x: "short" }
    expect(await isSignedWebhook(signed, signature, [broken, one, other])).toBe(true)
    expect(await isSignedWebhook(signed, signature.toUpperCase(), [other])).toBe(true)
    expect(await isSignedWebhook(signed, signature, [one, third])).toBe(false)
    expect(await isSignedWebhook(signed, signature, [])).toBe(false)
  })

  it.each([
    ["the id", { requestId: "x" }],
    ["the user", { userId: "x" }],
    ["the timestamp", { timestamp: "1700000001" }],
    ["the body", { body: encode('{"status": "KO"}') }],
  ])("does not hold when %s was changed", async (_, change) => {
    const key = await makeWebhookKey()
    const signature = await signWebhook(signed, key)
    expect(await isSignedWebhook({ ...signed, ...change }, signature, [key])).toBe(false)
  })

  it.each(["", "zz", "00", "0".repeat(127), "g".repeat(128), "0".repeat(128)])(
    "is refused when it is none (%s)",
    async (signature) => {
      const key = await makeWebhookKey()
      expect(await isSignedWebhook(signed, signature, [key])).toBe(false)
    },
  )

  it("is the same for a body that is a view on a shared buffer", async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(signed.body.length))
    shared.set(signed.body)
    expect(await webhookMessage({ ...signed, body: shared })).toEqual(await webhookMessage(signed))
  })
})
