import { randomBytes } from "node:crypto"
import { isSignedWebhook, makeWebhookKey, signWebhook } from "@tintype/protocol"
import { expect, it } from "vitest"
import { makeSigner } from "./signer.ts"

it.each([0, 1, 1_000, 1_000_000])(
  "signs as the protocol does, and as receivers verify (a body of %i bytes)",
  async (size) => {
    const key = await makeWebhookKey()
    const body = randomBytes(size)
    const signed = { requestId: "r1", userId: "å", timestamp: "1700000000", body }
    const signature = makeSigner(key)(signed)
    expect(signature).toBe(await signWebhook(signed, key))
    expect(await isSignedWebhook(signed, signature, [key])).toBe(true)
  },
)
