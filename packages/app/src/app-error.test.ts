import { expect, it } from "vitest"
import { z } from "zod"
import { AppError, isAppError } from "./app-error.ts"
import type { RunContext } from "./context.ts"
import { defineApp } from "./define-app.ts"
import { respond } from "./respond.ts"

const empty = z.object({})

async function answerOf(thrown: unknown, signal = new AbortController().signal) {
  const run = async () => {
    throw thrown
  }
  const app = defineApp({
    id: "local/test",
    endpoints: { "/": { input: empty, output: empty, run } },
  })
  const { status, headers, body } = await respond(app, { path: "/", input: Buffer.from("{}") }, {
    signal,
  } as RunContext)
  return { status, headers, body: JSON.parse(Buffer.from(body).toString()) as unknown }
}

it("a thrown AppError is the answer, with its headers in lower case", async () => {
  const error = new AppError(503, "The GPU is gone", { headers: { "X-Fal-Stop-Runner": "0" } })
  expect(await answerOf(error)).toEqual({
    status: 503,
    headers: { "content-type": "application/json", "x-fal-stop-runner": "0" },
    body: { detail: "The GPU is gone" },
  })
})

it("a status that is no error is refused, and so is one that HTTP does not have", () => {
  for (const status of [200, 399, 600, 500.5, Number.NaN]) {
    expect(() => new AppError(status, "x")).toThrow(RangeError)
  }
  expect([400, 599].map((status) => new AppError(status, "x").status)).toEqual([400, 599])
})

it("a cancelled call has no answer, whatever the app throws", async () => {
  const error = new AppError(503, "stopped")
  await expect(answerOf(error, AbortSignal.abort())).rejects.toBe(error)
})

it("an AppError of another copy of this package is known by its brand", () => {
  const foreign = Object.assign(new Error("x"), { [Symbol.for("tintype.app-error")]: true })
  expect(isAppError(foreign)).toBe(true)
  expect(isAppError(new Error("x"))).toBe(false)
})

it.each([
  ["requestTimeoutSeconds", 0],
  ["requestTimeoutSeconds", Number.POSITIVE_INFINITY],
  ["startupTimeoutSeconds", -1],
])("an app whose %s is %s is refused by name", (name, seconds) => {
  const endpoints = { "/": { raw: (bytes: Uint8Array) => bytes } }
  expect(() => defineApp({ id: "local/test", [name]: seconds, endpoints })).toThrow(
    `local/test: ${name} is ${seconds}; expected seconds above 0`,
  )
  expect(defineApp({ id: "local/test", [name]: 0.5, endpoints })).toMatchObject({ [name]: 0.5 })
})
