import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { defineApp } from "../define-app.ts"
import { integer } from "../integer.ts"
import { openapiFor } from "./document.ts"
import { schemaNameOf, titleOf } from "./names.ts"

type Json = Record<string, unknown>

const fixture = new URL("../../fixtures/fal-schemas.json", import.meta.url)
const {
  schemaNames,
  schemas,
}: {
  schemaNames: Record<string, string>
  schemas: Record<string, Record<string, Json>>
} = JSON.parse(readFileSync(fixture, "utf8"))

const presets = [
  "square_hd",
  "square",
  "portrait_4_3",
  "portrait_16_9",
  "landscape_4_3",
  "landscape_16_9",
]
const side = z.int().gt(0).lte(14142).default(512)
const ImageSize = z.object({ width: side, height: side }).meta({ title: "ImageSize" })
const imageSize = z.union([ImageSize, z.enum(presets)])
const Image = z
  .object({
    url: z.string(),
    width: z.int(),
    height: z.int(),
    content_type: z.string().default("image/jpeg"),
  })
  .meta({ title: "Image" })
const output = z.object({
  images: z.array(Image).describe("The images."),
  timings: z.record(z.string(), z.number()),
  seed: integer(),
  has_nsfw_concepts: z.array(z.boolean()),
  prompt: z.string(),
})
const guidance = { title: "Guidance scale (CFG)" }

const flux = defineApp({
  id: "fal-ai/flux",
  endpoints: {
    "/dev": {
      category: "text-to-image",
      inputName: "BaseInput",
      outputName: "Output",
      input: z.object({
        prompt: z.string(),
        image_size: imageSize.default("landscape_4_3"),
        num_inference_steps: z.int().min(1).max(50).default(28),
        seed: integer().nullable().optional(),
        guidance_scale: z.number().min(1).max(20).default(3.5).meta(guidance),
        sync_mode: z.boolean().default(false),
        num_images: z.int().min(1).max(4).default(1),
        enable_safety_checker: z.boolean().default(true),
        output_format: z.enum(["jpeg", "png"]).default("jpeg"),
        acceleration: z.enum(["none", "regular", "high"]).default("none"),
      }),
      output,
      run: () => Promise.reject(new Error("never run")),
    },
  },
})

const sdxl = defineApp({
  id: "fal-ai/fast-sdxl",
  endpoints: {
    "/": {
      inputName: "TextToImageInput",
      outputName: "Output",
      input: z.object({
        prompt: z.string(),
        negative_prompt: z.string().default(""),
        image_size: imageSize.default("square_hd"),
        num_inference_steps: z.int().min(1).max(50).default(25),
        seed: integer().optional(),
        guidance_scale: z.number().min(0).max(20).meta(guidance).default(7.5),
        sync_mode: z.boolean().default(false),
        num_images: z.int().min(1).max(8).default(1),
        loras: z
          .array(
            z
              .object({
                path: z.string(),
                scale: z.number().min(0).max(1).default(1),
                force: z.boolean().default(false),
              })
              .meta({ title: "LoraWeight" }),
          )
          .default([]),
        embeddings: z
          .array(
            z
              .object({ path: z.string(), tokens: z.array(z.string()).default(["<s0>", "<s1>"]) })
              .meta({ title: "Embedding" }),
          )
          .default([]),
        enable_safety_checker: z.boolean().default(true),
        safety_checker_version: z.enum(["v1", "v2"]).default("v1"),
        expand_prompt: z.boolean().default(false),
        format: z.enum(["jpeg", "png"]).default("jpeg"),
        request_id: z.string().default(""),
      }),
      output,
      run: () => Promise.reject(new Error("never run")),
    },
  },
})

/** The fixture has none, apart from those that every document has. */
function withoutDescriptions(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, each: unknown) =>
    key === "description" ? undefined : each,
  )
}

describe("the document of an endpoint", () => {
  it("has the schemas of the hosted fal-ai/flux/dev", () => {
    const { components } = openapiFor(flux, "/dev")
    expect(withoutDescriptions(components.schemas)).toEqual(schemas["fal-ai/flux/dev"])
  })

  it("has the schemas of the hosted fal-ai/fast-sdxl", () => {
    const { components } = openapiFor(sdxl, "/")
    expect(withoutDescriptions(components.schemas)).toEqual(schemas["fal-ai/fast-sdxl"])
  })

  it("names the stream of an endpoint that has one, on its own host, last", () => {
    const endpoint = { stream: true, raw: () => new Uint8Array() }
    const app = defineApp({ id: "a/b", endpoints: { "/c": endpoint } })
    const [path, item] = Object.entries(openapiFor(app, "/c").paths).at(-1) ?? []
    expect(path).toBe("/a/b/c/stream")
    const schema = { $ref: "#/components/schemas/BCOutput" }
    expect(item).toMatchObject({
      servers: [{ url: "https://fal.run" }],
      post: { responses: { "200": { content: { "text/event-stream": { schema } } } } },
    })
  })

  it("names its four routes, its queue and itself", () => {
    const document = openapiFor(flux, "/dev", "http://127.0.0.1:3250/queue")
    const operations = Object.entries(document.paths).map(
      ([path, item]) => `${Object.keys(Object(item)).join()} ${path}`,
    )
    expect(operations).toEqual([
      "get /fal-ai/flux/dev/requests/{request_id}/status",
      "put /fal-ai/flux/dev/requests/{request_id}/cancel",
      "post /fal-ai/flux/dev",
      "get /fal-ai/flux/dev/requests/{request_id}",
    ])
    expect(document.servers).toEqual([{ url: "http://127.0.0.1:3250/queue" }])
    expect(openapiFor(flux, "/dev").servers).toEqual([{ url: "https://queue.fal.run" }])
    expect(document.info).toEqual({
      title: "Queue OpenAPI for fal-ai/flux/dev",
      version: "1.0.0",
      description: "The OpenAPI schema for the fal-ai/flux/dev queue.",
      "x-fal-metadata": {
        endpointId: "fal-ai/flux/dev",
        category: "text-to-image",
        playgroundUrl: "https://fal.ai/models/fal-ai/flux/dev",
        documentationUrl: "https://fal.ai/models/fal-ai/flux/dev/api",
      },
    })
    expect(JSON.stringify(document.paths)).toContain('"#/components/schemas/FluxDevOutput"')
  })

  it("of a raw endpoint takes and answers any JSON", () => {
    const echo = defineApp({ id: "tintype/echo", endpoints: { "/": { raw: (bytes) => bytes } } })
    const { schemas: written } = openapiFor(echo, "/").components
    expect(written).toMatchObject({ EchoInput: {}, EchoOutput: {} })
    expect(Object.keys(written)).toEqual(["QueueStatus", "EchoInput", "EchoOutput"])
  })

  it("refuses a path that the app lacks", () => {
    expect(() => openapiFor(flux, "/")).toThrow("fal-ai/flux has no path /")
  })
})

const write = (input: z.ZodObject, outputSchema: z.ZodType = z.object({})) => {
  const endpoints = {
    "/": { input, output: outputSchema, run: () => Promise.reject(new Error("never run")) },
  }
  return openapiFor(defineApp({ id: "a/b", endpoints }), "/").components.schemas
}

describe("a schema in the document", () => {
  it("says of a field what .meta() and .describe() say, before or after a default", () => {
    const { BInput } = write(
      z.object({
        a: z.string().describe("before").default("x"),
        b: z.string().default("x").describe("after"),
        c: z.string().meta({ title: "See", examples: ["x"], "x-fal": { timeout: 20 }, id: "C" }),
      }),
    )
    expect(BInput?.["properties"]).toEqual({
      a: { type: "string", title: "A", description: "before", default: "x" },
      b: { type: "string", title: "B", description: "after", default: "x" },
      c: { type: "string", title: "See", examples: ["x"], "x-fal": { timeout: 20 } },
    })
  })

  it("that is shared is one, and its uses say what is theirs", () => {
    const Shared = z.object({ n: z.int() }).meta({ title: "Shared", description: "the class" })
    const written = write(
      z.object({
        plain: Shared,
        told: Shared.describe("a use"),
        maybe: Shared.nullable().default(null),
        many: z.array(Shared).min(1).max(2),
      }),
      z.object({ again: Shared }),
    )
    const reference = { $ref: "#/components/schemas/Shared" }
    expect(written["BInput"]?.["properties"]).toEqual({
      plain: { allOf: [reference], title: "Plain" },
      told: { allOf: [reference], title: "Told", description: "a use" },
      maybe: { anyOf: [reference, { type: "null" }], title: "Maybe" },
      many: { type: "array", items: reference, title: "Many", minItems: 1, maxItems: 2 },
    })
    expect(written["Shared"]).toMatchObject({ title: "Shared", description: "the class" })
    expect(Object.keys(written)).toEqual(["QueueStatus", "BInput", "BOutput", "Shared"])
  })

  it("without a title has its property's name, and two classes of one name are both there", () => {
    const Old = z.object({ old: z.int() }).meta({ title: "Image" })
    const New = z.object({ new: z.int() }).meta({ title: "Image" })
    const written = write(z.object({ image_size: z.object({}), a: Old, b: New }))
    expect(Object.keys(written).slice(3)).toEqual(["ImageSize", "Image", "Image2"])
    expect(written["Image2"]).toMatchObject({ title: "Image", properties: { new: {} } })
  })

  it("that is the whole input has the title of its class, else its own name", () => {
    const written = write(z.object({}).meta({ title: "Class", description: "d" }))
    expect(written["BInput"]).toMatchObject({ title: "Class", description: "d" })
    expect(written["BOutput"]).toMatchObject({ title: "BOutput" })
  })

  it("that contains itself refers to itself", () => {
    const Tree = z
      .object({
        get children() {
          return z.array(Tree)
        },
      })
      .meta({ title: "Tree" })
    const { Tree: written } = write(z.object({ root: Tree }))
    expect(written?.["properties"]).toEqual({
      children: { type: "array", title: "Children", items: { $ref: "#/components/schemas/Tree" } },
    })
  })

  it("writes each kind in the words of OpenAPI", () => {
    const { BInput } = write(
      z.object({
        any: z.unknown(),
        map: z.record(z.string(), z.any()),
        pair: z.tuple([z.int(), z.string()]),
        mixed: z.literal(["auto", 1]),
        bounded: z.number().gt(0).lt(10).multipleOf(0.5),
        text: z.string().min(1).max(5).regex(/^a/),
        auto: z.union([z.int(), z.literal("auto")]).nullable(),
        nothing: z.null(),
      }),
    )
    expect(BInput?.["properties"]).toEqual({
      any: { title: "Any" },
      map: { type: "object", additionalProperties: true, title: "Map" },
      pair: {
        type: "array",
        prefixItems: [{ type: "integer" }, { type: "string" }],
        minItems: 2,
        maxItems: 2,
        title: "Pair",
      },
      mixed: { enum: ["auto", 1], title: "Mixed" },
      bounded: {
        type: "number",
        exclusiveMinimum: 0,
        exclusiveMaximum: 10,
        multipleOf: 0.5,
        title: "Bounded",
      },
      text: { type: "string", minLength: 1, maxLength: 5, pattern: "^a", title: "Text" },
      auto: {
        anyOf: [{ type: "integer" }, { enum: ["auto"], type: "string" }, { type: "null" }],
        title: "Auto",
      },
      nothing: { type: "null", title: "Nothing" },
    })
  })
})

describe("names", () => {
  it.each(Object.entries(schemaNames))("%s is %s", (id, name) => {
    expect(schemaNameOf(id)).toBe(name)
  })

  it.each([
    ["has_nsfw_concepts", "Has Nsfw Concepts"],
    ["keyframe_2_index", "Keyframe 2 Index"],
    ["url", "Url"],
  ])("%s is titled %s", (key, title) => {
    expect(titleOf(key)).toBe(title)
  })
})
