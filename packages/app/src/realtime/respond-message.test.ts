import { packMessage, unpackMessage } from "@tintype/protocol"
import { describe, expect, test } from "vitest"
import { z } from "zod"
import { AppError } from "../app-error.ts"
import { bytes } from "../bytes.ts"
import type { RunContext } from "../context.ts"
import { defineApp } from "../define-app.ts"
import { integer } from "../integer.ts"
import { ModelError } from "../model-error.ts"
import { openapiFor } from "../openapi/document.ts"
import { respondMessage } from "./respond-message.ts"

const input = z.object({
  prompt: z.string(),
  steps: z.int().min(1).max(8).default(4),
  seed: integer().optional(),
})
const answered = z.object({ url: z.string(), seed: integer().optional() })

const app = defineApp({
  id: "acme/painter",
  endpoints: {
    "/": {
      input,
      output: answered,
      run: async ({ prompt, seed }) => ({ url: `memory:${prompt}`, seed }),
      realtime: true,
    },
    "/bytes": {
      input,
      output: answered,
      run: async () => ({ url: "" }),
      realtime: {
        output: z.object({ content: bytes(), steps: z.int(), request_id: z.string().default("") }),
        run: async ({ prompt, steps }) => ({ content: Buffer.from(prompt), steps }),
        exclusive: true,
        bufferingMax: 3,
        sessionTimeoutSeconds: 9,
      },
    },
    "/faults": {
      input,
      output: answered,
      run: async ({ prompt }) => {
        if (prompt === "model") {
          throw new ModelError("image_too_small", { msg: "too small", ctx: { min_width: 64 } })
        }
        if (prompt === "app") throw new AppError(503, "no memory left")
        if (prompt === "output") return { url: 5 as never }
        throw new TypeError("cannot read x")
      },
      realtime: true,
    },
    "/plain": { input, output: answered, run: async () => ({ url: "" }) },
  },
})

const context = { signal: new AbortController().signal } as RunContext

async function ask(value: unknown, path = "/", form: "msgpack" | "json" = "msgpack") {
  const data = form === "json" ? Buffer.from(JSON.stringify(value)) : packMessage(value)
  return read(await respondMessage(app, { path, form, data }, context))
}

function read({ form, data, failed }: Awaited<ReturnType<typeof respondMessage>>) {
  const unpacked = form === "json" ? { value: JSON.parse(Buffer.from(data).toString()) } : null
  const { value } = (unpacked ?? unpackMessage(data)) as { value: Record<string, unknown> }
  return { form, value, failed }
}

describe("a message", () => {
  test("is answered in the form that it came in", async () => {
    const value = { url: "memory:a" }
    expect(await ask({ prompt: "a" })).toEqual({ form: "msgpack", value, failed: false })
    const told = await ask({ prompt: "a" }, "/", "json")
    expect(told).toEqual({ form: "json", value, failed: false })
  })

  test("keeps the digits of a seed", async () => {
    const seed = 2n ** 63n - 25n
    expect((await ask({ prompt: "a", seed })).value["seed"]).toBe(seed)
  })

  test("is answered with its request_id where the answer has none of its own", async () => {
    const { value } = await ask({ prompt: "a", request_id: "7" })
    expect(value).toEqual({ url: "memory:a", request_id: "7" })
    expect((await ask({ prompt: "a", request_id: "7" }, "/bytes")).value["request_id"]).toBe("7")
    expect((await ask({ prompt: "a" }, "/bytes")).value["request_id"]).toBe("")
    expect((await ask({ request_id: "8" })).value["request_id"]).toBe("8")
  })

  test("is answered with bytes: raw in msgpack, base64 in JSON", async () => {
    const { value } = await ask({ prompt: "hi", steps: "2" }, "/bytes")
    expect(value["content"]).toEqual(Uint8Array.from(Buffer.from("hi")))
    expect(value["steps"]).toBe(2)
    const text = await ask({ prompt: "hi" }, "/bytes", "json")
    expect(text.value["content"]).toBe("aGk=")
  })
})

describe("an error", () => {
  test("of the input says what is wrong, and nothing has failed", async () => {
    const { form, value, failed } = await ask({ steps: 9 })
    expect({ form, failed }).toEqual({ form: "json", failed: false })
    expect(value).toMatchObject({
      type: "x-fal-error",
      error: "VALIDATION_ERROR",
      reason: "prompt: Field required; steps: Input should be less than or equal to 8",
      detail: [
        { loc: ["body", "prompt"], type: "missing" },
        { loc: ["body", "steps"], type: "less_than_equal", ctx: { le: 8 } },
      ],
    })
    expect((await ask(5)).value).toMatchObject({ error: "VALIDATION_ERROR" })
  })

  test.each([
    ["msgpack", Uint8Array.of(0x82, 0xa1), "The message is not msgpack: truncated"],
    ["json", Buffer.from('{"a":'), "The message is not json: Expecting value, at character 5"],
    ["json", Uint8Array.of(0xff, 0xfe), "The message is not json: it cannot be read"],
  ] as const)("of a message that cannot be read says why [%s]", async (form, data, reason) => {
    const told = read(await respondMessage(app, { path: "/", form, data }, context))
    const value = { type: "x-fal-error", error: "BAD_REQUEST", reason }
    expect(told).toEqual({ form: "json", value, failed: false })
  })

  test("that the app meant is told by its name, and nothing has failed", async () => {
    const refused = await ask({ prompt: "model", request_id: "9" }, "/faults")
    expect(refused).toMatchObject({
      failed: false,
      value: {
        error: "IMAGE_TOO_SMALL",
        reason: "too small",
        detail: [{ type: "image_too_small", ctx: { min_width: 64 } }],
        request_id: "9",
      },
    })
    const unwell = await ask({ prompt: "app" }, "/faults")
    expect(unwell).toMatchObject({
      failed: false,
      value: { error: "APP_ERROR", reason: "no memory left" },
    })
  })

  test.each([
    ["a bug", "bug", "cannot read x"],
    ["an output that its schema does not allow", "output", "the output does not match"],
  ])("of the app's own is a failure [%s]", async (_, prompt, reason) => {
    expect(await ask({ prompt }, "/faults")).toMatchObject({
      form: "json",
      failed: true,
      value: {
        type: "x-fal-error",
        error: "INTERNAL_ERROR",
        reason: expect.stringContaining(reason),
      },
    })
  })

  test("after an abort is nobody's", async () => {
    const aborted = { ...context, signal: AbortSignal.abort() }
    const message = { path: "/faults", form: "json", data: Buffer.from('{"prompt":"x"}') } as const
    await expect(respondMessage(app, message, aborted)).rejects.toThrow("cannot read x")
  })

  test.each(["/plain", "/nothing"])("is a path that is not realtime [%s]", async (path) => {
    expect(await ask({ prompt: "a" }, path)).toMatchObject({
      failed: true,
      value: { error: "NOT_FOUND" },
    })
  })
})

describe("an endpoint", () => {
  test("keeps what it says of its realtime", () => {
    const { realtime } = app.endpoints.get("/bytes") as { realtime?: object }
    expect(realtime).toMatchObject({ exclusive: true, bufferingMax: 3, sessionTimeoutSeconds: 9 })
  })

  test("is told of in its document", () => {
    const { paths } = openapiFor(app, "/bytes")
    expect(paths["/acme/painter/bytes/realtime"]).toMatchObject({
      "x-fal-protocol": { type: "realtime", config: { buffering: 3, sessionTimeout: 9 } },
    })
    expect(Object.keys(openapiFor(app, "/plain").paths).join(" ")).not.toContain("realtime")
  })

  test.each<[string, object, string]>([
    ["a limit that is none", { bufferingMax: 0 }, "bufferingMax is 0"],
    ["an output without run", { output: answered }, "output and run come together"],
  ])("is refused with %s", (_, realtime, message) => {
    const endpoint = { input, output: answered, run: async () => ({ url: "" }), realtime }
    const definition = { id: "acme/wrong", endpoints: { "/": endpoint } }
    expect(() => defineApp(definition)).toThrow(message)
  })

  test("that takes bytes as they are has no realtime", () => {
    const raw = { raw: (given: Uint8Array) => given, realtime: true }
    expect(() => defineApp({ id: "acme/raw", endpoints: { "/": raw } })).toThrow("raw stands alone")
  })
})
