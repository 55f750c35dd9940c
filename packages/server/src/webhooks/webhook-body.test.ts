import { describe, expect, it } from "vitest"
import type { RequestRecord } from "../domain/request.ts"
import { webhookBody, type WebhookOutput } from "./webhook-body.ts"

function record(state: RequestRecord["state"], code: number) {
  const outcome = { status: code, headers: {}, error: null, errorType: null, inferenceMs: 1 }
  return { id: "r1", state, outcome }
}

const encode = (text: string) => new TextEncoder().encode(text)

function textOf(state: RequestRecord["state"], code: number, output: WebhookOutput): string {
  return new TextDecoder().decode(webhookBody(record(state, code), output))
}

describe("a webhook's body", () => {
  it("of a success has sorted keys, wide separators and the output's own bytes", () => {
    const output = '{"seed":18446744073709551615,  "a": 1.0, "é": "\\u00e9"}'
    expect(textOf("succeeded", 200, encode(output))).toBe(
      `{"error": null, "gateway_request_id": "r1", "payload": ${output}, "request_id": "r1", "status": "OK"}`,
    )
  })

  it("of a failure says so and carries the error's body", () => {
    const output = '{"detail":[{"loc":["body","prompt"],"msg":"Field required","type":"missing"}]}'
    expect(textOf("failed", 422, encode(output))).toBe(
      `{"error": "Invalid status code: 422", "gateway_request_id": "r1", "payload": ${output}, "request_id": "r1", "status": "ERROR"}`,
    )
  })

  it("of a cancelled request is one of a failure", () => {
    const told: unknown = JSON.parse(textOf("cancelled", 499, encode('{"detail":"x"}')))
    expect(told).toMatchObject({ status: "ERROR", error: "Invalid status code: 499" })
  })

  it.each([
    ["a text", encode("not json"), /not JSON/],
    ["NaN", encode('{"a": NaN}'), /not JSON/],
    ["nothing", encode(""), /not JSON/],
    ["broken UTF-8", new Uint8Array([0x22, 0xff, 0x22]), /not JSON/],
    ["a byte order mark", encode("\uFEFF{}"), /not JSON/],
    ["JSON that ends and goes on", encode('{}, "status": "OK"'), /not JSON/],
    ["too much", "too_large", /too large/],
    ["what is gone", "missing", /not kept/],
  ] as const)("with %s has no payload and says why", (_, output, why) => {
    const text = textOf("succeeded", 200, output)
    const told = JSON.parse(text) as Record<string, unknown>
    expect(told).toEqual({
      error: null,
      gateway_request_id: "r1",
      payload: null,
      payload_error: expect.stringMatching(why),
      request_id: "r1",
      status: "OK",
    })
    expect(text).toMatch(
      /^\{"error": null, "gateway_request_id": "r1", "payload": null, "payload_error": "/,
    )
  })
})
