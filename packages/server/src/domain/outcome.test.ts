import { describe, expect, test } from "vitest"
import { answeredOutcome, isSuccess, platformOutcome } from "./outcome.ts"
import type { Body } from "./request.ts"

const inline = (text: string): Body => ({ inline: new TextEncoder().encode(text) })

function answer(status: number, body: Body, headers: Record<string, string> = {}) {
  return answeredOutcome({ kind: "answered", status, headers, body, inferenceMs: 12 })
}

const errorOf = (text: string) => answer(422, inline(text)).error

test("answers from 200 to 399 are successes, redirects among them", () => {
  const statuses = [200, 204, 302, 399, 400, 422, 499, 500, 199]
  expect(statuses.map((status) => isSuccess(status))).toEqual([
    true,
    true,
    true,
    true,
    ...Array<boolean>(5).fill(false),
  ])
})

describe("an app's answer", () => {
  test("reaches the caller as it is [success]", () => {
    const body = inline('{"seed":12345678901234567890}')
    expect(answer(200, body, { "x-a": "b" })).toEqual({
      status: 200,
      headers: { "x-a": "b" },
      body,
      error: null,
      errorType: null,
      inferenceMs: 12,
    })
  })

  test("reaches the caller as it is [failure], with an error for the status", () => {
    const body = inline('{"detail":"Path /x not found"}')
    expect(answer(404, body)).toMatchObject({
      status: 404,
      body,
      error: "Path /x not found",
      errorType: "bad_request",
    })
    expect(answer(500, body).errorType).toBe("runner_server_error")
  })

  test("may name its own error type", () => {
    const outcome = answer(504, inline("{}"), { "x-fal-error-type": "request_timeout" })
    expect(outcome.errorType).toBe("request_timeout")
  })

  test.each([
    ["a text", '{"detail":"No luck"}', "No luck"],
    [
      "a validation error",
      '{"detail":[{"loc":["body","seed"],"msg":"Field required","type":"missing"}]}',
      "seed: Field required",
    ],
    [
      "several",
      '{"detail":[{"loc":["body","a",0],"msg":"Bad"},{"loc":["body"],"msg":"Worse"}]}',
      "a.0: Bad; Worse",
    ],
    ["an item without place", '{"detail":[{"msg":"Bad"}]}', "Bad"],
    ["an item without message", '{"detail":[{"loc":["body","a"]}]}', 'a: {"loc":["body","a"]}'],
    ["items that are no objects", '{"detail":["x",null,3]}', "x; null; 3"],
    ["an object", '{"detail":{"a":1}}', '{"a":1}'],
    ["null", '{"detail":null}', "null"],
    ["no detail", '{"error":"x"}', "The app answered with status 422"],
    ["no object", '"x"', "The app answered with status 422"],
    ["JSON null", "null", "The app answered with status 422"],
    ["no JSON", "<html>", "The app answered with status 422"],
    ["nothing", "", "The app answered with status 422"],
  ])("says in its error what a person wants to read [%s]", (_name, body, error) => {
    expect(errorOf(body)).toBe(error)
  })

  test("has a short error [long detail]", () => {
    expect(errorOf(JSON.stringify({ detail: "x".repeat(5_000) }))).toHaveLength(1_000)
  })

  test("is not read when it is a blob", () => {
    expect(answer(500, { blob: "b", bytes: 70_000 }).error).toBe("The app answered with status 500")
  })
})

describe("the platform's own outcome", () => {
  test("is the catalogue's answer, named in the status", () => {
    const outcome = platformOutcome("runner_disconnected", "r-1")
    expect(outcome).toMatchObject({
      status: 503,
      errorType: "runner_disconnected",
      inferenceMs: null,
    })
    expect(outcome.headers["x-fal-needs-retry"]).toBe("1")
    const body: { inline: Uint8Array } = { inline: new Uint8Array(), ...outcome.body }
    expect(JSON.parse(new TextDecoder().decode(body.inline))).toEqual({
      detail: outcome.error,
      error_type: "runner_disconnected",
      request_id: "r-1",
    })
  })

  test("may say more, and how long the app worked", () => {
    expect(platformOutcome("request_timeout", "r-1", "Too slow", 900)).toMatchObject({
      status: 504,
      error: "Too slow",
      inferenceMs: 900,
    })
  })
})
