import { describe, expect, it } from "vitest"
import { readEndpoint } from "./document.ts"
import { writeDeclarations } from "./write-declarations.ts"

interface Given {
  id?: string
  input?: object
  output?: object
  schemas?: Record<string, object>
}

const json = (name: string) => ({
  content: { "application/json": { schema: { $ref: `#/components/schemas/${name}` } } },
})

/** One entry of the models list, with the schemas at the places where documents have them. */
function model({ id = "acme/paint", input = {}, output = {}, schemas = {} }: Given): object {
  return {
    endpoint_id: id,
    metadata: { display_name: "Paint", category: "text-to-image" },
    openapi: {
      components: { schemas: { PaintInput: input, PaintOutput: output, ...schemas } },
      paths: {
        [`/${id}`]: { post: { requestBody: json("PaintInput") } },
        [`/${id}/requests/{request_id}`]: { get: { responses: { 200: json("PaintOutput") } } },
      },
    },
  }
}

const write = (...given: Given[]) => writeDeclarations(given.map(model).map(readEndpoint))

/** The type of one property, on the side of the input. */
function typeOf(property: unknown, name = "field", schemas: Record<string, object> = {}): string {
  const input = { type: "object", properties: { [name]: property }, required: [name] }
  const text = write({ input, schemas })
  return new RegExp(`^  ${name}\\??: (.*)$`, "m").exec(text)?.[1] ?? text
}

describe("the file", () => {
  it("names each endpoint with what it takes and gives", () => {
    const text = write({ input: { type: "object", properties: { prompt: { type: "string" } } } })
    expect(text).toBe(`// Written by \`tintype types\`. Do not edit: write it again.

export {}

export interface AcmePaintInput {
  prompt?: string
}

export type AcmePaintOutput = unknown

declare module "@tintype/client" {
  interface Endpoints {
    /** Paint · text-to-image */
    "acme/paint": { input: AcmePaintInput; output: AcmePaintOutput }
  }
}
`)
  })

  it("is the same in whatever order the endpoints come, and has one name for each thing", () => {
    const ids = ["a/b-c", "a-b/c", "1/b", "workflows/a/b/c", "a/b/c"]
    const entries = ids.map((id) => ({ id, input: { type: "object" } }))
    const text = write(...entries)
    expect(write(...entries.toReversed())).toBe(text)
    const names = [...text.matchAll(/^export (?:interface|type) (\w+)/gm)].map(([, name]) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(names).toHaveLength(2 * ids.length)
  })

  it("lets endpoints without a document be called with anything", () => {
    const described = readEndpoint({ endpoint_id: "a/b", openapi: { error: { code: "x" } } })
    expect(writeDeclarations([described])).toContain('"a/b": { input: object; output: unknown }')
  })

  it.each([null, 7, {}, { openapi: { components: 1, paths: [] } }])("takes %j for one", (given) => {
    expect(writeDeclarations([readEndpoint(given)])).toContain("input: object; output: unknown")
  })
})

describe("a property", () => {
  it.each([
    [{ type: "string" }, "string"],
    [{ type: "integer" }, "number"],
    [{ type: "number" }, "number"],
    [{ type: "boolean" }, "boolean"],
    [{}, "unknown"],
    [true, "unknown"],
    [false, "never"],
    [{ enum: ["a", 'b"c', 2, null, true] }, '"a" | "b\\"c" | 2 | null | true'],
    [{ const: "a", type: "string" }, '"a"'],
    [{ type: "string", nullable: true }, "string | null"],
    [{ type: ["string", "null"] }, "string | null"],
    [{ anyOf: [{ type: "string" }, { type: "null" }] }, "string | null"],
    [{ anyOf: [{ type: "string" }, { type: "string", format: "uri" }] }, "string"],
    [{ anyOf: [{ type: "string" }, {}] }, "unknown"],
    [{ oneOf: [{ type: "integer" }, { type: "boolean" }] }, "number | boolean"],
    [
      { allOf: [{ anyOf: [{ type: "string" }, { type: "number" }] }, { const: 1 }] },
      "(string | number) & 1",
    ],
    [{ allOf: [{ type: "string" }], default: "a" }, "string"],
    [{ type: "array", items: { type: "string" } }, "string[]"],
    [{ type: "array", items: { enum: ["a", "b"] } }, '("a" | "b")[]'],
    [{ type: "array" }, "unknown[]"],
    [{ items: { type: "array", items: { type: "number" } } }, "(number[])[]"],
    [{ type: "array", prefixItems: [{ type: "number" }, { type: "string" }] }, "[number, string]"],
    [
      { type: "array", prefixItems: [{ type: "number" }], items: { type: "string" } },
      "[number, ...string[]]",
    ],
    [{ type: "object" }, "Record<string, unknown>"],
    [{ type: "object", additionalProperties: false }, "Record<string, never>"],
    [{ $ref: "#/components/schemas/Missing" }, "unknown"],
    [{ $ref: "https://example.com/other.json" }, "unknown"],
    [{ type: "file" }, "unknown"],
  ])("%j is %s", (schema, type) => {
    expect(typeOf(schema)).toBe(type)
  })

  it("may be left out of an input when it has a default, but not out of an output", () => {
    const schema = {
      type: "object",
      properties: { a: { type: "string", default: "x" }, b: { type: "string" } },
      required: ["a", "b"],
    }
    const text = write({ input: schema, output: schema })
    expect(text.match(/^ {2}[ab]\??: string$/gm)).toEqual([
      "  a?: string",
      "  b: string",
      "  a: string",
      "  b: string",
    ])
  })

  it("takes a file where the URL of one is taken", () => {
    expect(typeOf({ type: "string" }, "image_url")).toBe("FileInput")
    expect(typeOf({ type: "array", items: { type: "string" } }, "image_urls")).toBe("FileInput[]")
    const nullable = { anyOf: [{ type: "string" }, { type: "null" }] }
    expect(typeOf(nullable, "url")).toBe("FileInput | null")
    expect(typeOf({ type: "string" }, "curl")).toBe("string")
    expect(typeOf({ enum: ["a"] }, "image_url")).toBe('"a"')
    const output = { type: "object", properties: { url: { type: "string" } }, required: ["url"] }
    expect(write({ output })).toContain("  url: string\n")
  })

  it("is told with its description, its limits and its default", () => {
    const prompt = {
      type: "integer",
      description: "How\n  many. */ @see nothing",
      minimum: 1,
      maximum: 4,
      multipleOf: 2,
      limit_description: "Max file size: 20.0MB",
      default: 2,
      deprecated: true,
    }
    expect(write({ input: { type: "object", properties: { prompt } } })).toContain(`  /**
   * How many. *\\/ \\@see nothing
   * At least 1, at most 4, a multiple of 2.
   * Max file size: 20.0MB
   * @default 2
   * @deprecated
   */
  prompt?: number
`)
  })

  it("has any name", () => {
    const names = ["class", "a-b", "ünï", "1st", "__proto__", 'q"', ""]
    const properties = Object.fromEntries(names.map((name) => [name, { type: "string" }]))
    const text = write({ input: { type: "object", properties, required: names } })
    expect(text).toContain('  class: string\n  "a-b": string\n')
    expect(text).toContain('  "q\\"": string\n')
  })

  it("may be of what contains it", () => {
    const text = write({
      input: { type: "object", properties: { tree: { $ref: "#/components/schemas/Tree" } } },
      schemas: {
        Tree: {
          type: "object",
          properties: { left: { allOf: [{ $ref: "#/components/schemas/Tree" }] } },
        },
      },
    })
    expect(text).toContain("export interface AcmePaintInputTree {\n  left?: AcmePaintInputTree\n}")
  })

  it("of an object with more than its named ones allows the others", () => {
    const schema = {
      type: "object",
      properties: { a: { type: "string" } },
      required: ["a"],
      additionalProperties: { type: "number" },
    }
    expect(write({ input: schema })).toContain("{\n  a: string\n  [name: string]: unknown\n}")
  })
})
