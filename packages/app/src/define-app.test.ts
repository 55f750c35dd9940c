import { describe, expect, expectTypeOf, it } from "vitest"
import { z, type ZodType } from "zod"
import { defineApp } from "./define-app.ts"
import { integer } from "./integer.ts"

const text = z.object({ text: z.string() })
const run = async (input: { text: string }) => input
const withId = (id: string) =>
  defineApp({ id, endpoints: { "/": { input: text, output: text, run } } })
const withPath = (path: string) =>
  defineApp({ id: "local/test", endpoints: { [path]: { input: text, output: text, run } } })
const withInput = (input: ZodType) =>
  defineApp({
    id: "local/test",
    endpoints: { "/": { input, output: text, run: async () => ({ text: "" }) } },
  })
const define = (endpoint: object) => () => {
  defineApp({ id: "a/b", endpoints: { "/": endpoint } })
}

describe("defineApp", () => {
  it("types what run is given and what it must return", () => {
    const app = defineApp({
      id: "local/test",
      endpoints: {
        "/": {
          input: z.object({ n: z.int().default(1), seed: integer().optional() }),
          output: z.object({ half: z.number(), name: z.string().default("x") }),
          run: async (input, context) => {
            expectTypeOf(input).toEqualTypeOf<{ n: number; seed?: number | bigint | undefined }>()
            context.signal.throwIfAborted()
            return { half: input.n / 2 }
          },
        },
        "/raw": { raw: (bytes) => bytes.subarray(1) },
        "/async-raw": { raw: async (bytes, context) => (context.signal.aborted ? bytes : bytes) },
        "/words": {
          input: text,
          output: z.object({ words: z.array(z.string()) }),
          async run(input) {
            return { words: input.text.split(" ") }
          },
        },
        "/wrong": {
          input: text,
          output: text,
          // @ts-expect-error a number is not what the output schema says
          run: async (input) => ({ text: input.text.length }),
        },
      },
    })
    expect([...app.endpoints.keys()]).toEqual(["/", "/raw", "/async-raw", "/words", "/wrong"])
  })

  it.each([
    "local/test",
    "fal-ai/flux",
    "workflows/me/name",
    "comfy/me/name",
    "me/my-app--staging",
  ])("takes the id %s", (id) => {
    expect(withId(id).id).toBe(id)
  })

  it.each(["", "flux", "/a/b", "a/b/", "a/b/c", "a//b", "a/b c", "a/../b", "workflows/me"])(
    "refuses the id %j",
    (id) => {
      expect(() => withId(id)).toThrow("expected owner/alias")
    },
  )

  it.each(["/", "/dev", "/dev/image-to-image", "/v1.5"])("takes the path %s", (path) => {
    expect([...withPath(path).endpoints.keys()]).toEqual([path])
  })

  it.each(["", "dev", "/dev/", "//", "/a//b", "/a b", "/../x"])("refuses the path %j", (path) => {
    expect(() => withPath(path)).toThrow(`path ${JSON.stringify(path)}`)
  })

  it("refuses the path of a request", () => {
    expect(() => withPath("/requests/x")).toThrow("reserved")
  })

  it("refuses an app without endpoints", () => {
    expect(() => defineApp({ id: "a/b", endpoints: {} })).toThrow("at least one endpoint")
  })

  it("refuses an endpoint that is neither whole nor raw", () => {
    expect(define({})).toThrow("a/b /: run or raw is missing")
    expect(define({ run })).toThrow("a/b / input: a zod schema is missing")
    expect(define({ run, input: text })).toThrow("a/b / output: a zod schema is missing")
    expect(define({ run, input: { type: "object" }, output: text })).toThrow(
      "input: not a zod schema",
    )
    expect(define({ raw: () => new Uint8Array(), input: text })).toThrow("raw stands alone")
    expect(define({ raw: () => new Uint8Array(), stream: "yes" })).toThrow('stream is "yes"')
  })

  it.each<[string, ZodType, string]>([
    ["a string", z.string(), "input: expected z.object"],
    ["a transform", z.object({ a: z.string().transform(Number) }), "input.a: z.pipe() is not"],
    ["a date", z.object({ a: z.array(z.object({ b: z.date() })) }), "input.a[].b: z.date() is not"],
    ["a url", z.object({ a: z.url() }), "input.a: the string format url is not"],
    [
      "an e-mail check",
      z.object({ a: z.string().check(z.email()) }),
      "input.a: the check email is",
    ],
    ["a set", z.object({ a: z.record(z.string(), z.set(z.int())) }), "input.a{}: z.set() is not"],
    ["an int32", z.object({ a: z.int32() }), "input.a: the number format int32 is not"],
    ["a catch", z.object({ a: z.string().catch("x") }), "input.a: z.catch() is not"],
  ])("refuses %s, and says where", (_, schema, message) => {
    expect(() => withInput(schema)).toThrow(`local/test / ${message}`)
  })
})

const echo = () => new Uint8Array()

it("an app says who may call it, and nothing else than the three modes", () => {
  const raw = echo
  const authOf = (auth?: unknown) =>
    defineApp({ id: "a/b", auth: auth as "public", endpoints: { "/": { raw } } }).auth
  expect([authOf(), authOf("private"), authOf("shared"), authOf("public")]).toEqual([
    undefined,
    "private",
    "shared",
    "public",
  ])
  expect(() => authOf("everyone")).toThrow("a/b: auth is")
})
