import * as fc from "fast-check"

/** JSON bodies that follow an endpoint's schema, nearly. */

interface Schema {
  type?: string
  enum?: unknown[]
  anyOf?: Schema[]
  allOf?: Schema[]
  items?: Schema
  properties?: Record<string, Schema>
  minimum?: number
  maximum?: number
  $ref?: string
}

export interface OpenApi {
  paths: Record<
    string,
    { post?: { requestBody?: { content: Record<string, { schema: Schema }> } } }
  >
  components: { schemas: Record<string, Schema> }
}

/** The inputs of a document's endpoints, each as an arbitrary of JSON texts. */
export function inputsOf(document: OpenApi): fc.Arbitrary<string>[] {
  return Object.values(document.paths).flatMap(({ post }) => {
    const schema = post?.requestBody?.content["application/json"]?.schema
    return schema === undefined
      ? []
      : [valueOf(schema, document, 0).map((one) => JSON.stringify(one))]
  })
}

const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(-1, 0, 2 ** 31, 2 ** 53, 1e308, "", "1", "é\u0000", [], {}, null, true),
)

const depthMax = 5
/** What is asked for in earnest is drawn, which takes its time: these stay small. */
const smallNumberMax = 3
const sideMax = 96

function valueOf(schema: Schema, document: OpenApi, depth: number): fc.Arbitrary<unknown> {
  const found = schema.$ref?.split("/").at(-1)
  const known = found === undefined ? schema : (document.components.schemas[found] ?? {})
  if (depth > depthMax) return junk
  return fc.oneof(
    { weight: 9, arbitrary: typedValue(known, document, depth) },
    { weight: 1, arbitrary: junk },
  )
}

function typedValue(schema: Schema, document: OpenApi, depth: number): fc.Arbitrary<unknown> {
  const choices = schema.anyOf ?? schema.allOf
  if (choices !== undefined) {
    return fc.oneof(...choices.map((choice) => valueOf(choice, document, depth + 1)))
  }
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  if (schema.properties !== undefined) return objectOf(schema.properties, document, depth)
  if (schema.type === "array") {
    return fc.array(valueOf(schema.items ?? {}, document, depth + 1), { maxLength: 2 })
  }
  if (schema.type === "integer" || schema.type === "number") {
    const minimum = Math.floor(schema.minimum ?? 0)
    return fc.integer({ min: minimum - 1, max: minimum + smallNumberMax })
  }
  if (schema.type === "boolean") return fc.boolean()
  return fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.constantFrom(
      "http://127.0.0.1:1/x.png",
      "data:image/png;base64,AAAA",
      "data:,",
      "file:///etc/passwd",
      "x".repeat(5_000),
    ),
  )
}

function objectOf(
  properties: Record<string, Schema>,
  document: OpenApi,
  depth: number,
): fc.Arbitrary<unknown> {
  const fields = Object.entries(properties).map(([name, schema]) => {
    const value =
      name === "image_size"
        ? fc.record({ width: fc.nat(sideMax), height: fc.nat(sideMax) })
        : valueOf(schema, document, depth + 1)
    return [name, value] as const
  })
  // Large pictures are another test's: their size is always said.
  const requiredKeys = Object.keys(properties).filter((name) => name === "image_size")
  return fc.record(Object.fromEntries(fields), { requiredKeys })
}
