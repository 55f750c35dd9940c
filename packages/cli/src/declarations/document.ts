import { isRecord } from "../queue/wire-reading.ts"

/** A JSON schema as OpenAPI 3.0 and 3.1 write it; nothing of it is trusted to be what it should be. */
export type Schema = Record<string, unknown>

/** What is said of one endpoint. */
export interface DescribedEndpoint {
  id: string
  title: string
  category: string
  /** By name; what a `$ref` points to. */
  schemas: Record<string, Schema>
  /** Of what a call takes, and what its result is; null: the document does not say. */
  input: Schema | null
  output: Schema | null
}

/** Reads one entry of `/v1/models?expand=openapi-3.0`. An endpoint without a document can be called all the same. */
export function readEndpoint(model: unknown): DescribedEndpoint {
  const { endpoint_id: id, metadata, openapi } = isRecord(model) ? model : {}
  const named = isRecord(metadata) ? metadata : {}
  const document = isRecord(openapi) ? openapi : {}
  const paths = isRecord(document["paths"]) ? document["paths"] : {}
  const endpoint = String(id)
  return {
    id: endpoint,
    title: textOf(named["display_name"]),
    category: textOf(named["category"]),
    schemas: schemasOf(document),
    input: schemaAt(paths[`/${endpoint}`], ["post", "requestBody"]),
    output: schemaAt(paths[`/${endpoint}/requests/{request_id}`], ["get", "responses", "200"]),
  }
}

function schemasOf({ components }: Record<string, unknown>): Record<string, Schema> {
  const schemas = isRecord(components) ? components["schemas"] : undefined
  const entries = isRecord(schemas) ? Object.entries(schemas) : []
  return Object.fromEntries(
    entries.filter((entry): entry is [string, Schema] => isRecord(entry[1])),
  )
}

function schemaAt(item: unknown, way: string[]): Schema | null {
  let found = item
  for (const step of [...way, "content", "application/json", "schema"]) {
    found = isRecord(found) ? found[step] : undefined
  }
  return isRecord(found) ? found : null
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : ""
}
