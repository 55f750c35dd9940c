// Extracts what callers can depend on (names, types, limits, defaults) of the endpoints that the built-in apps
// serve, out of a dump of the model catalogue (JSON lines, gzipped), into fixtures/facts/. No descriptions,
// examples or media.
//
//     node scripts/extract-facts.mjs PATH_TO_fal-models.jsonl.gz
import { readFileSync, writeFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"

const endpoints = [
  "fal-ai/flux/dev",
  "fal-ai/flux/schnell",
  "fal-ai/fast-sdxl",
  "fal-ai/fast-lcm-diffusion",
  "fal-ai/fast-lightning-sdxl",
]
const kept = [
  "title",
  "type",
  "enum",
  "default",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "required",
  "$ref",
  "x-fal-order-properties",
]

function facts(schema) {
  const found = {}
  for (const key of kept) if (schema[key] !== undefined) found[key] = schema[key]
  if (schema.items) found.items = facts(schema.items)
  if (schema.anyOf) found.anyOf = schema.anyOf.map((one) => facts(one))
  if (typeof schema.additionalProperties === "object") {
    found.additionalProperties = facts(schema.additionalProperties)
  }
  if (schema.properties) {
    found.properties = Object.fromEntries(
      Object.entries(schema.properties)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, property]) => [name, facts(property)]),
    )
  }
  return found
}

const [path] = process.argv.slice(2)
if (path === undefined) throw new Error("usage: node scripts/extract-facts.mjs PATH")
for (const line of gunzipSync(readFileSync(path)).toString("utf8").split("\n")) {
  if (line === "") continue
  const model = JSON.parse(line)
  if (!endpoints.includes(model.endpoint_id)) continue
  const schemas = Object.entries(model.openapi.components.schemas)
    .filter(([name]) => name !== "QueueStatus")
    .map(([name, schema]) => [name, facts(schema)])
  const fixture = {
    endpoint: model.endpoint_id,
    source: "the model catalogue's OpenAPI document of 2026-01-28",
    category: model.metadata.category,
    schemas: Object.fromEntries(schemas),
  }
  const name = model.endpoint_id.replaceAll("/", "--")
  const target = new URL(`../fixtures/facts/${name}.json`, import.meta.url)
  writeFileSync(target, `${JSON.stringify(fixture, null, 2)}\n`)
}
