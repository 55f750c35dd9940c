import type { EndpointId } from "@tintype/protocol"
import { parseWebhookUrl, webhookUrlLengthMax } from "../../domain/delivery.ts"
import type { Body } from "../../domain/request.ts"
import { badRequest, RefusedError } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"

/**
 * Where a submit's outcome is to be told: `fal_webhook` in the query, else `webhook_url` in a JSON body, unless that is a
 * field of the endpoint's own. The body reaches the app as it came.
 */

/** The query's webhook; null when it names none. Throws a refusal for one that is no URL. */
export function webhookOfQuery({ address: { query } }: Call): string | null {
  const text = query.get("fal_webhook")
  return text === null ? null : checked(text, "fal_webhook")
}

/** The body's webhook; only one in memory is looked into. Throws as above. */
export async function webhookOfBody(
  body: Body,
  { apps }: Pick<Gateway, "apps">,
  endpoint: EndpointId,
): Promise<string | null> {
  if (!("inline" in body) || !mayName(body.inline)) return null
  const url = fieldOf(body.inline)
  if (typeof url !== "string" || url === "") return null
  const app = await apps.find(endpoint.app)
  return hasOwnField(app?.openapi[endpoint.id]) ? null : checked(url, "webhook_url")
}

function checked(text: string, name: string): string {
  const url = parseWebhookUrl(text)
  if (url !== null) return url
  const detail = `${name} is not an absolute http(s) URL of at most ${webhookUrlLengthMax} characters`
  throw new RefusedError(badRequest(detail))
}

/** Spares nearly every body a second reading. */
function mayName(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes('"webhook_url"')
}

function fieldOf(bytes: Uint8Array): unknown {
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
  return at(parsed, "webhook_url")
}

/** Does the endpoint's input, as its OpenAPI document describes it, have a `webhook_url`? */
function hasOwnField(document: unknown): boolean {
  const paths: unknown = at(document, "paths")
  const schemas: unknown = at(at(document, "components"), "schemas")
  const bodies = Object.values(asObject(paths)).map((path) => at(at(path, "post"), "requestBody"))
  return bodies.some((body) => {
    const schema = at(at(at(body, "content"), "application/json"), "schema")
    return hasField(schema, asObject(schemas), schemaDepthMax)
  })
}

/** How many references and alternatives are followed, one in another. */
const schemaDepthMax = 8

function hasField(schema: unknown, schemas: Record<string, unknown>, depth: number): boolean {
  if (depth === 0) return false
  if (at(at(schema, "properties"), "webhook_url") !== undefined) return true
  const reference: unknown = at(schema, "$ref")
  const named = typeof reference === "string" ? [schemas[reference.split("/").at(-1) ?? ""]] : []
  const parts = ["allOf", "anyOf", "oneOf"].flatMap((name) => at(schema, name) ?? [])
  return [...named, ...parts].some((one) => hasField(one, schemas, depth - 1))
}

function at(value: unknown, name: string): unknown {
  const object = asObject(value)
  return Object.hasOwn(object, name) ? object[name] : undefined
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}
}
