import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import {
  PlatformError,
  type PlatformErrorType,
  isPlatformErrorType,
  ownPlatformErrorTypes,
  platformErrorAnswer,
  platformErrors,
} from "./errors.ts"
import { isModelErrorType, modelErrorAnswer, modelErrorUrl, modelErrors } from "./model-errors.ts"

function read(body: Uint8Array): object {
  const parsed: object = JSON.parse(new TextDecoder().decode(body))
  return parsed
}

function repeatWord(value: boolean | "maybe"): string {
  if (value === "maybe") return value
  return value ? "yes" : "no"
}

const platformTable: [PlatformErrorType, number, boolean][] = [
  ["request_timeout", 504, false],
  ["startup_timeout", 504, false],
  ["runner_scheduling_failure", 503, true],
  ["runner_connection_timeout", 503, true],
  ["runner_disconnected", 503, true],
  ["runner_connection_refused", 503, true],
  ["runner_connection_error", 503, true],
  ["runner_incomplete_response", 502, false],
  ["runner_server_error", 500, false],
  ["client_disconnected", 499, false],
  ["client_cancelled", 499, false],
  ["bad_request", 400, false],
  ["internal_error", 500, false],
  ["concurrent_requests_limit", 429, true],
  ["idempotency_key_reused", 422, false],
  ["storage_quota_exceeded", 413, false],
  ["server_stopping", 429, true],
  ["storage_full", 429, true],
  ["request_rate_limit", 429, true],
  ["queue_too_long", 429, true],
]

describe("platform errors", () => {
  test("are the documented ones and six of ours", () => {
    expect(Object.keys(platformErrors)).toEqual(platformTable.map(([type]) => type))
    expect(ownPlatformErrorTypes).toEqual([
      "idempotency_key_reused",
      "storage_quota_exceeded",
      "server_stopping",
      "storage_full",
      "request_rate_limit",
      "queue_too_long",
    ])
    expect(isPlatformErrorType("bad_request")).toBe(true)
    expect(isPlatformErrorType("toString")).toBe(false)
  })

  test.each(platformTable)("%s is answered with %i [repeatable: %s]", (type, status, repeat) => {
    const answer = platformErrorAnswer(type, undefined, { requestId: "r-1" })
    expect(answer.status).toBe(status)
    expect(answer.detail).toBe(platformErrors[type].text)
    expect(answer.headers["content-type"]).toBe("application/json")
    expect(answer.headers["x-fal-error-type"]).toBe(type)
    expect(answer.headers["x-fal-needs-retry"]).toBe(repeat ? "1" : undefined)
    expect(answer.headers["x-fal-retryable"]).toBe(String(repeat))
    expect(answer.headers["retry-after"] !== undefined).toBe(status === 429)
    const body = read(answer.body)
    expect(body).toMatchObject({ detail: platformErrors[type].text, error_type: type })
    expect(Object.keys(body)).toEqual([
      "detail",
      "error_type",
      ...(status === 429 ? ["retry_after"] : []),
      ...(status >= 500 ? ["request_id"] : []),
    ])
  })

  test("an answer carries the given detail, and no request id when there is none", () => {
    const answer = platformErrorAnswer("internal_error", "Out of luck")
    expect(read(answer.body)).toEqual({ detail: "Out of luck", error_type: "internal_error" })
  })

  test("a 429 tells the same number of seconds in its header and its body", () => {
    const full = platformErrorAnswer("storage_full")
    expect(full.headers["retry-after"]).toBe("5")
    expect(read(full.body)).toMatchObject({ retry_after: 5 })
    const own = platformErrorAnswer("server_stopping", undefined, { retryAfterSeconds: 7 })
    expect(own.headers["retry-after"]).toBe("7")
    expect(read(own.body)).toMatchObject({ retry_after: 7 })
  })

  test("a thrown platform error knows its status, its detail and its headers", () => {
    const cause = new Error("socket")
    const error = new PlatformError("bad_request", "Body is not JSON", { allow: "POST" }, { cause })
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ type: "bad_request", status: 400, detail: "Body is not JSON" })
    expect(error.headers).toEqual({ allow: "POST" })
    expect(error.cause).toBe(cause)
    expect(error.message).toBe("Body is not JSON")
    expect(new PlatformError("startup_timeout")).toMatchObject({
      detail: platformErrors.startup_timeout.text,
      headers: {},
    })
  })
})

describe("model errors", () => {
  test("are answered as a list with the address of each type", () => {
    const item = {
      loc: ["body", "image_url"],
      msg: "Too large",
      type: "image_too_large",
      ctx: { max_height: 4096, max_width: 4096 },
      input: "https://example.com/a.png",
    }
    const answer = modelErrorAnswer([item])
    expect(answer.status).toBe(422)
    expect(answer.headers).toEqual({
      "content-type": "application/json",
      "x-fal-retryable": "false",
      "x-fal-needs-retry": "0",
    })
    expect(read(answer.body)).toEqual({
      detail: [{ ...item, url: "https://docs.fal.ai/errors/#image_too_large" }],
    })
  })

  test("Pydantic's types keep their own url and answer 422", () => {
    const url = "https://errors.pydantic.dev/2.11/v/missing"
    const item = { loc: ["body", "prompt"], msg: "Field required", type: "missing", url, input: {} }
    const answer = modelErrorAnswer([item])
    expect(answer.status).toBe(422)
    expect(answer.headers["x-fal-retryable"]).toBe("false")
    expect(read(answer.body)).toEqual({ detail: [item] })
    const bare = { loc: ["body"], msg: "No", type: "value_error" }
    expect(read(modelErrorAnswer([bare]).body)).toEqual({ detail: [bare] })
  })

  test("the highest status of several errors wins, and one that is final makes all final", () => {
    const busy = { loc: ["body"], msg: "Busy", type: "downstream_service_unavailable" }
    const small = { loc: ["body", "image_url"], msg: "Small", type: "image_too_small" }
    expect(modelErrorAnswer([busy, small])).toMatchObject({
      status: 500,
      headers: { "x-fal-retryable": "false", "x-fal-needs-retry": "0" },
    })
    expect(modelErrorAnswer([])).toMatchObject({
      status: 422,
      headers: { "x-fal-retryable": "false" },
    })
    expect(modelErrorAnswer([busy])).toMatchObject({
      status: 500,
      headers: { "x-fal-retryable": "true", "x-fal-needs-retry": "1" },
    })
  })

  test("the app decides about a type that may be repeatable", () => {
    const slow = [{ loc: ["body"], msg: "Slow", type: "generation_timeout" }]
    expect(modelErrorAnswer(slow)).toMatchObject({
      status: 504,
      headers: { "x-fal-retryable": "false" },
    })
    expect(modelErrorAnswer(slow, { retryable: true }).headers["x-fal-retryable"]).toBe("true")
    const final = [{ loc: ["body"], msg: "No", type: "one_of" }]
    expect(modelErrorAnswer(final, { retryable: true }).headers["x-fal-retryable"]).toBe("false")
  })

  test("a downstream failure is a 500, and everything about the input is a 422", () => {
    const above = Object.entries(modelErrors).filter(([, entry]) => entry.status !== 422)
    expect(above.map(([type, entry]) => [type, entry.status])).toEqual([
      ["internal_server_error", 500],
      ["generation_timeout", 504],
      ["downstream_service_error", 500],
      ["downstream_service_unavailable", 500],
    ])
    expect(Object.keys(modelErrors)).toHaveLength(31)
    expect(isModelErrorType("one_of")).toBe(true)
    expect(isModelErrorType("constructor")).toBe(false)
  })
})

const pagePath = fileURLToPath(new URL("../../../docs/reference/errors.md", import.meta.url))

/** The page with the tables that the catalogue makes; its prose stays. */
function withTables(page: string): string {
  const own = new Set<string>(ownPlatformErrorTypes)
  const platform = Object.entries(platformErrors).map(([type, { status, retryable, text }]) => {
    const name = `\`${type}\`${own.has(type) ? " (ours)" : ""}`
    return `| ${name} | ${status} | ${repeatWord(retryable)} | ${text} |`
  })
  const model = Object.entries(modelErrors).map(([type, { status, retryable, ctx }]) => {
    const keys = ctx.map((key) => `\`${key}\``).join(", ")
    return `| \`${type}\` | ${status} | ${repeatWord(retryable)} | ${keys === "" ? "–" : keys} |`
  })
  const prose = page.split(/(?<=^\| --- .*\n)(?:\| .*\n)+/m)
  expect(prose).toHaveLength(3)
  return [prose[0], ...platform.map(line), prose[1], ...model.map(line), prose[2]].join("")
}

const line = (text: string) => `${text}\n`

// `vitest run packages/protocol/src/errors.test.ts --update` writes the tables anew.
test("the page of the errors has the tables that the catalogue makes", async () => {
  const page = readFileSync(pagePath, "utf8")
  expect(page).toContain(modelErrorUrl("image_too_large"))
  await expect(withTables(page)).toMatchFileSnapshot(pagePath)
})
