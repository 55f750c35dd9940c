import type { AppRow } from "../store.ts"
import { mayCall } from "./access/caller.ts"
import { type Answer, jsonAnswer, methodNotAllowed, notServed, refusal } from "./answer.ts"
import type { Call, Gateway } from "./parts.ts"

/** What is served: the OpenAPI document of an endpoint, and the list of models. No secrets, and no state. */

const modelsLimitDefault = 50
const modelsLimitMax = 100
const endpointIdsMax = 50

interface Model {
  endpoint: string
  app: AppRow
}

/** `GET /api/openapi/queue/openapi.json?endpoint_id=` */
export async function answerOpenapi(gateway: Gateway, call: Call): Promise<Answer> {
  if (!isRead(call)) return methodNotAllowed(call.method, "GET, HEAD")
  const asked = call.address.query.get("endpoint_id") ?? ""
  const model = (await listModels(gateway, call)).find(({ endpoint }) => endpoint === asked)
  const document = model === undefined ? null : openapiOf(model, call)
  return jsonAnswer(document === null ? 404 : 200, document)
}

/** `GET /v1/models`; every other route of the platform API is refused by name. */
export async function answerPlatformApi(gateway: Gateway, call: Call): Promise<Answer> {
  const path = call.address.path.replace(/(.)\/$/, "$1")
  if (path !== "/v1/models") return notServed(`${call.method} ${path.slice(0, 200)}`)
  if (!isRead(call)) return methodNotAllowed(call.method, "GET, HEAD")
  const { query } = call.address
  const page = readPage(query)
  if (page === null) return refusal(400, "limit or cursor is not valid")
  const ids = listOf(query, "endpoint_id")
  if (ids.length > endpointIdsMax) {
    return refusal(400, `endpoint_id takes at most ${endpointIdsMax} values`)
  }
  const models = await listModels(gateway, call)
  const unknown = ids.find((id) => !models.some(({ endpoint }) => endpoint === id))
  if (unknown !== undefined) return refusal(404, `Endpoint "${unknown.slice(0, 200)}" not found`)
  const chosen = models.filter((model) => isChosen(model, ids, query))
  const shown = chosen.slice(page.offset, page.offset + page.limit)
  const more = page.offset + page.limit < chosen.length
  const withOpenapi = listOf(query, "expand").includes("openapi-3.0")
  return jsonAnswer(200, {
    models: shown.map((model) => describeModel(model, call, withOpenapi)),
    next_cursor: more ? encodeCursor(page.offset + page.limit) : null,
    has_more: more,
  })
}

/** Of the apps that the caller may call; those that any key may call are no secret. */
async function listModels(gateway: Gateway, { caller }: Call): Promise<Model[]> {
  const all = await gateway.apps.all()
  const apps = all.filter((app) => app.auth === "shared" || mayCall(caller, app))
  const models = apps.flatMap((app) => app.endpoints.map((endpoint) => ({ endpoint, app })))
  return models.toSorted((one, other) => (one.endpoint < other.endpoint ? -1 : 1))
}

function isRead(call: Call): boolean {
  return call.method === "GET" || call.method === "HEAD"
}

/** Repeated and comma-separated values alike. */
function listOf(query: URLSearchParams, name: string): string[] {
  return query
    .getAll(name)
    .flatMap((value) => value.split(","))
    .filter((value) => value !== "")
}

function isChosen(model: Model, ids: string[], query: URLSearchParams): boolean {
  if (ids.length > 0 && !ids.includes(model.endpoint)) return false
  const metadata = metadataOf(model)
  const category = query.get("category")
  if (category !== null && metadata["category"] !== category) return false
  const status = query.get("status")
  if (status !== null && metadata["status"] !== status) return false
  const words = query.get("q")?.toLowerCase() ?? ""
  const text = [model.endpoint, metadata["display_name"], metadata["description"]].join(" ")
  return text.toLowerCase().includes(words)
}

function describeModel(model: Model, call: Call, withOpenapi: boolean): object {
  const { endpoint, app } = model
  const url = `${call.address.runBase}/${endpoint}`
  const streams = app.streams?.includes(endpoint) === true
  const described = {
    endpoint_id: endpoint,
    metadata: {
      model_url: url,
      ...(streams ? { stream_url: `${url}/stream` } : {}),
      ...metadataOf(model),
    },
  }
  if (!withOpenapi) return described
  const failed = {
    error: {
      code: "expansion_failed",
      message: "OpenAPI schema not available for this endpoint",
    },
  }
  return { ...described, openapi: openapiOf(model, call) ?? failed }
}

/** Every key that the platform API requires, with the app's own values where it has some. */
function metadataOf({ endpoint, app }: Model): Record<string, unknown> {
  const own = app.metadata[endpoint]
  return {
    display_name: endpoint,
    category: "unknown",
    description: "",
    status: "active",
    tags: [],
    updated_at: "1970-01-01T00:00:00Z",
    is_favorited: null,
    thumbnail_url: "",
    date: "1970-01-01T00:00:00Z",
    highlighted: false,
    kind: "inference",
    pinned: false,
    ...(typeof own === "object" ? own : {}),
  }
}

/** The stored document, with the queue that this caller would use as its server. */
function openapiOf({ endpoint, app }: Model, call: Call): object | null {
  const document = app.openapi[endpoint]
  if (typeof document !== "object" || document === null) return null
  const { runBase, statusBase } = call.address
  return { ...document, ...servePaths(document, runBase), servers: [{ url: statusBase }] }
}

/** Paths that are not on the queue have a server of their own. */
function servePaths(document: object, url: string): object {
  if (!("paths" in document) || typeof document.paths !== "object") return {}
  const paths = Object.entries(document.paths ?? {}).map(([path, item]: [string, unknown]) =>
    typeof item === "object" && item !== null && "servers" in item
      ? [path, { ...item, servers: [{ url }] }]
      : [path, item],
  )
  return { paths: Object.fromEntries(paths) as object }
}

function readPage(query: URLSearchParams): { offset: number; limit: number } | null {
  const limit = query.get("limit") ?? String(modelsLimitDefault)
  const cursor = query.get("cursor") ?? encodeCursor(0)
  const offset = Buffer.from(cursor, "base64url").toString()
  if (!/^[1-9]\d{0,8}$/.test(limit) || !/^\d{1,9}$/.test(offset)) return null
  return { offset: Number(offset), limit: Math.min(Number(limit), modelsLimitMax) }
}

function encodeCursor(offset: number): string {
  return Buffer.from(String(offset)).toString("base64url")
}
