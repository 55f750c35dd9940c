import { readFileSync } from "node:fs"
import { isModelErrorType, modelErrors } from "@tintype/protocol"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import type { RunContext } from "./context.ts"
import { defineApp } from "./define-app.ts"
import { integer } from "./integer.ts"
import { answerModelError, FieldError, isModelError, ModelError } from "./model-error.ts"
import { echoedInputBytesMax, respond } from "./respond.ts"

const unused = (): never => {
  throw new Error("not expected here")
}

function contextOf(signal = new AbortController().signal): RunContext {
  return {
    requestId: "r",
    endpoint: "local/test",
    attempt: 1,
    headers: {},
    signal,
    log: unused,
    progress: unused,
    streaming: false,
    emit: unused,
    file: unused,
    billableUnits: unused,
    header: unused,
    fetchMedia: unused,
  }
}

const app = defineApp({
  id: "local/test",
  endpoints: {
    "/": {
      input: z.object({
        prompt: z.string(),
        image_size: z.enum(["square"]).default("square"),
        guidance_scale: z.number().min(1).max(20).default(3.5),
        seed: integer().optional(),
        steps: z.int().default(1),
        tags: z.record(z.string(), z.unknown()).default({}),
        sink: z.array(z.string()).default([]),
      }),
      output: z.object({
        prompt: z.string(),
        seed: integer().optional(),
        tags: z.record(z.string(), z.unknown()),
        own: z.boolean(),
      }),
      run: async (input) => {
        input.sink.push("changed")
        const { prompt, seed, tags, sink } = input
        return { prompt, seed, tags, own: sink.length === 1 && !("polluted" in {}) }
      },
    },
    "/echo": { raw: (bytes) => bytes },
    "/throws": {
      input: z.object({ what: z.string() }),
      output: z.object({}),
      run: ({ what }, context) => {
        if (what === "field") throw new FieldError("what", "not that")
        if (what === "bug") throw new RangeError("a bug")
        if (what === "abort") context.signal.throwIfAborted()
        if (!isModelErrorType(what)) throw new Error(`no type: ${what}`)
        throw new ModelError(what, { loc: ["body", "what"], retryable: true })
      },
    },
    "/wrong-output": {
      input: z.object({ value: z.any() }),
      output: z.object({ n: z.number() }),
      run: async ({ value }) => ({ n: value, extra: "left out" }),
    },
    "/many": {
      input: z.object(
        Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`field_${n}`, z.string()])),
      ),
      output: z.object({}),
      run: async () => ({}),
    },
  },
})

async function call(input: string | Uint8Array, path = "/", signal?: AbortSignal) {
  const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input
  const { status, headers, body } = await respond(app, { path, input: bytes }, contextOf(signal))
  const text = new TextDecoder().decode(body)
  const json: { detail: unknown } = JSON.parse(text)
  return { status, headers, text, json }
}

describe("an answer", () => {
  it("is the output as JSON", async () => {
    const { status, headers, json } = await call('{"prompt":"hi","steps":"3"}')
    expect(status).toBe(200)
    expect(headers).toEqual({ "content-type": "application/json" })
    expect(json).toEqual({ prompt: "hi", tags: {}, own: true })
  })

  it("keeps every digit of an integer()", async () => {
    const { text } = await call('{"prompt":"hi","seed":12345678901234567890}')
    expect(text).toContain('"seed":12345678901234567890')
  })

  it("gives each call a default of its own", async () => {
    await call('{"prompt":"hi"}')
    expect((await call('{"prompt":"hi"}')).json).toMatchObject({ own: true })
  })

  it("treats __proto__ as data", async () => {
    const tags = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'
    const { text } = await call(`{"prompt":"hi","__proto__":{"polluted":1},"tags":${tags}}`)
    expect(text).toContain(`"tags":${tags}`)
    expect(text).toContain('"own":true')
  })

  it("of a raw endpoint is its bytes, untouched", async () => {
    const { status, text } = await call(" [1.0, 12345678901234567890]\n", "/echo")
    expect(status).toBe(200)
    expect(text).toBe(" [1.0, 12345678901234567890]\n")
  })
})

describe("a call that cannot be served", () => {
  it("of an unknown path is 404 and free", async () => {
    const { status, headers, json } = await call("{}", "/nothing")
    expect(status).toBe(404)
    expect(json).toEqual({ detail: "Path /nothing not found" })
    expect(headers["x-fal-billable-units"]).toBe("0")
  })

  it("with an invalid input is 422, free and not to be repeated", async () => {
    const { status, headers, json } = await call('{"guidance_scale":"x"}')
    expect(status).toBe(422)
    expect(headers).toMatchObject({ "x-fal-billable-units": "0", "x-fal-retryable": "false" })
    expect(json.detail).toEqual([
      {
        loc: ["body", "prompt"],
        msg: "Field required",
        type: "missing",
        url: "https://errors.pydantic.dev/2.14/v/missing",
        input: { guidance_scale: "x" },
      },
      {
        loc: ["body", "guidance_scale"],
        msg: "Input should be a valid number, unable to parse string as a number",
        type: "float_parsing",
        url: "https://errors.pydantic.dev/2.14/v/float_parsing",
        input: "x",
      },
    ])
  })

  it("never hands rounded digits to an app that expects a number", async () => {
    const { status, json, text } = await call('{"prompt":"hi","steps":9007199254740993}')
    expect(status).toBe(422)
    expect(json.detail).toMatchObject([
      { type: "less_than_equal", ctx: { le: Number.MAX_SAFE_INTEGER } },
    ])
    expect(text).toContain('"input":9007199254740993')
  })

  it("repeats no more input than the limit, however many fields are missing", async () => {
    const junk = "x".repeat(echoedInputBytesMax / 4)
    const { json, text } = await call(JSON.stringify({ junk }), "/many")
    expect(json.detail).toHaveLength(20)
    expect(text.length).toBeLessThan(echoedInputBytesMax + 10_000)
    expect(json.detail).toHaveProperty("0.input.junk", junk)
  })

  it.each([
    ["bytes that are no text", Uint8Array.of(0xff, 0xfe, 0x7b)],
    ["a nesting without end", new TextEncoder().encode("[".repeat(100_000))],
    ["a nesting that is valid and too deep", `${"[".repeat(5000)}${"]".repeat(5000)}`],
    [
      "a deep nesting with long numbers",
      `${"[".repeat(90_000)}12345678901234567890${"]".repeat(90_000)}`,
    ],
    ["an integer of 5000 digits", `{"prompt":"x","seed":${"9".repeat(5000)}}`],
  ])("because of %s is 400", async (_, bytes) => {
    const { status, json } = await call(bytes)
    expect(status).toBe(400)
    expect(json).toEqual({ detail: "There was an error parsing the body" })
  })

  it("is refused in linear time [a megabyte of digits, of spaces]", async () => {
    const started = performance.now()
    for (const filler of ["1", " ", "1_"]) {
      const text = `${filler.repeat(500_000)}x`
      const { status } = await call(
        JSON.stringify({ prompt: "", guidance_scale: text, steps: text }),
      )
      expect(status).toBe(422)
    }
    // Quadratic would be minutes.
    expect(performance.now() - started).toBeLessThan(5000)
  })
})

describe("a body that is no JSON object answers what FastAPI answers", () => {
  const fixture = new URL("../fixtures/pydantic-cases.json", import.meta.url)
  const {
    bodies,
  }: {
    bodies: { body: string; status: number; detail: unknown }[]
  } = JSON.parse(readFileSync(fixture, "utf8"))

  it.each(bodies.map((each) => [JSON.stringify(each.body), each] as const))(
    "%s",
    async (_, { body, status, detail }) => {
      const answer = await call(body)
      // FastAPI leaves out the url; the hosted service does not.
      const told: { detail: unknown } = JSON.parse(answer.text, (key, value: unknown) =>
        key === "url" ? undefined : value,
      )
      expect(answer.status).toBe(status)
      expect(told.detail).toEqual(detail)
    },
  )
})

describe("what an app throws", () => {
  it("may hold any digits", async () => {
    const error = new ModelError("one_of", {
      input: { a: [2n ** 64n, Infinity] },
      ctx: { expected: [1n] },
    })
    const text = new TextDecoder().decode(answerModelError(error).body)
    expect(text).toContain('"ctx":{"expected":[1]},"input":{"a":[18446744073709551616,"inf"]}')
  })

  it("by another copy of this package is known", () => {
    const foreign = Object.assign(new Error("x"), { [Symbol.for("tintype.model-error")]: true })
    expect([isModelError(foreign), isModelError(new Error("x"))]).toEqual([true, false])
  })

  it.each(Object.entries(modelErrors))("%s is an answer", async (type, entry) => {
    const { status, headers, json } = await call(JSON.stringify({ what: type }), "/throws")
    expect(status).toBe(entry.status)
    expect(headers["x-fal-retryable"]).toBe(String(entry.retryable === "maybe" || entry.retryable))
    expect(json.detail).toMatchObject([
      { type, loc: ["body", "what"], url: `https://docs.fal.ai/errors/#${type}` },
    ])
  })

  it("as a FieldError is 422 value_error", async () => {
    const { status, json } = await call('{"what":"field"}', "/throws")
    expect(status).toBe(422)
    expect(json.detail).toEqual([{ loc: ["body", "what"], msg: "not that", type: "value_error" }])
  })

  it("unplanned is thrown on", async () => {
    await expect(call('{"what":"bug"}', "/throws")).rejects.toThrow("a bug")
  })

  it("after an abort is thrown on, whatever it is", async () => {
    const controller = new AbortController()
    controller.abort(new Error("cancelled"))
    await expect(call('{"what":"abort"}', "/throws", controller.signal)).rejects.toThrow(
      "cancelled",
    )
    await expect(call('{"what":"one_of"}', "/throws", controller.signal)).rejects.toThrow("One of")
  })
})

describe("an output", () => {
  it("has what its schema names and nothing else", async () => {
    expect((await call('{"value":1}', "/wrong-output")).json).toEqual({ n: 1 })
  })

  it.each(['"x"', "null", "{}"])("that is %s where a number should be throws", async (value) => {
    const error: unknown = await call(`{"value":${value}}`, "/wrong-output").catch(String)
    expect(error).toContain("OutputError: the output does not match its schema: output.n: Input")
  })

  it("that JSON cannot say throws", async () => {
    await expect(call('{"value":NaN}', "/wrong-output")).rejects.toThrow("n: NaN is not JSON")
  })
})
