import type { App, AppEndpoint } from "../define-app.ts"
import { schemaNameOf } from "./names.ts"
import { SchemaWriter, type JsonSchema } from "./schemas.ts"

export interface OpenApiDocument {
  openapi: string
  info: Record<string, unknown>
  components: {
    securitySchemes: Record<string, unknown>
    schemas: Record<string, JsonSchema>
  }
  paths: Record<string, unknown>
  servers: { url: string }[]
  security: Record<string, string[]>[]
}

/**
 * The document of one endpoint, as `openapi.json?endpoint_id=` answers it. `base` is where its queue is. Throws a
 * TypeError for a path that the app does not have.
 *
 *     openapiFor(app, "/").paths["/fal-ai/flux/dev"]
 */
export function openapiFor(
  app: App,
  path: string,
  base = "https://queue.fal.run",
): OpenApiDocument {
  const endpoint = app.endpoints.get(path)
  if (endpoint === undefined) throw new TypeError(`${app.id} has no path ${path}`)
  const id = path === "/" ? app.id : app.id + path
  const name = schemaNameOf(id)
  const inputName = `${name}Input`
  const outputName = `${name}Output`
  return {
    openapi: "3.0.4",
    info: infoOf(id, app, endpoint),
    components: {
      securitySchemes: {
        apiKeyAuth: {
          type: "apiKey",
          in: "header",
          name: "Authorization",
          description: "Fal Key",
        },
      },
      schemas: schemasOf(endpoint, inputName, outputName),
    },
    paths: {
      ...pathsOf(id, inputName, outputName),
      ...(endpoint.stream === true ? streamPathOf(id, inputName, outputName) : {}),
      ...realtimePathOf(id, inputName, endpoint),
    },
    servers: [{ url: base }],
    security: [{ apiKeyAuth: [] }],
  }
}

function infoOf(id: string, app: App, endpoint: AppEndpoint): Record<string, unknown> {
  const category = endpoint.category ?? app.category
  const thumbnailUrl = endpoint.thumbnailUrl ?? app.thumbnailUrl
  return {
    title: `Queue OpenAPI for ${id}`,
    version: "1.0.0",
    description: `The OpenAPI schema for the ${id} queue.`,
    "x-fal-metadata": {
      endpointId: id,
      ...(category === undefined ? {} : { category }),
      ...(thumbnailUrl === undefined ? {} : { thumbnailUrl }),
      playgroundUrl: `https://fal.ai/models/${id}`,
      documentationUrl: `https://fal.ai/models/${id}/api`,
    },
  }
}

function schemasOf(
  endpoint: AppEndpoint,
  inputName: string,
  outputName: string,
): Record<string, JsonSchema> {
  if (endpoint.kind === "raw") {
    return { QueueStatus: queueStatus, [inputName]: {}, [outputName]: {} }
  }
  const writer = new SchemaWriter({ QueueStatus: queueStatus, [inputName]: {}, [outputName]: {} })
  writer.addRoot(inputName, endpoint.input, endpoint.inputName)
  writer.addRoot(outputName, endpoint.output, endpoint.outputName)
  return writer.schemas
}

const queueStatus: JsonSchema = {
  type: "object",
  properties: {
    status: { type: "string", enum: ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"] },
    request_id: { type: "string", description: "The request id." },
    response_url: { type: "string", description: "The response url." },
    status_url: { type: "string", description: "The status url." },
    cancel_url: { type: "string", description: "The cancel url." },
    logs: { type: "object", description: "The logs.", additionalProperties: true },
    metrics: { type: "object", description: "The metrics.", additionalProperties: true },
    queue_position: { type: "integer", description: "The queue position." },
  },
  required: ["status", "request_id"],
}

const requestId = {
  name: "request_id",
  in: "path",
  required: true,
  schema: { type: "string", description: "Request ID" },
}

const logs = {
  name: "logs",
  in: "query",
  required: false,
  schema: {
    type: "number",
    description: "Whether to include logs (`1`) in the response or not (`0`).",
  },
}

const cancelled: JsonSchema = {
  type: "object",
  properties: {
    success: {
      type: "boolean",
      description: "Whether the request was cancelled successfully.",
    },
  },
}

function pathsOf(id: string, inputName: string, outputName: string): Record<string, unknown> {
  const request = `/${id}/requests/{request_id}`
  return {
    [`${request}/status`]: {
      get: {
        parameters: [requestId, logs],
        responses: ok("The request status.", referTo("QueueStatus")),
      },
    },
    [`${request}/cancel`]: {
      put: {
        parameters: [requestId],
        responses: ok("The request was cancelled.", cancelled),
      },
    },
    [`/${id}`]: {
      post: {
        requestBody: { required: true, ...json(referTo(inputName)) },
        responses: ok("The request status.", referTo("QueueStatus")),
      },
    },
    [request]: {
      get: {
        parameters: [requestId],
        responses: ok("Result of the request.", referTo(outputName)),
      },
    },
  }
}

/** Streams are on another host than the queue, whose document this is. */
function streamPathOf(id: string, inputName: string, outputName: string): Record<string, unknown> {
  const events = { "text/event-stream": { schema: referTo(outputName) } }
  return {
    [`/${id}/stream`]: {
      servers: [{ url: "https://fal.run" }],
      post: {
        requestBody: { required: true, ...json(referTo(inputName)) },
        responses: {
          "200": {
            description: "What the app emits; the last event is the result.",
            content: events,
          },
        },
      },
    },
  }
}

/** A WebSocket is no operation of OpenAPI; the extension and the operation beside it are those of the hosted framework. */
function realtimePathOf(
  id: string,
  inputName: string,
  endpoint: AppEndpoint,
): Record<string, unknown> {
  if (endpoint.kind !== "json" || endpoint.realtime === undefined) return {}
  const { bufferingMax: buffering, sessionTimeoutSeconds: sessionTimeout } = endpoint.realtime
  const config = { buffering, sessionTimeout, maxBatchSize: 1 }
  const contentType = "application/msgpack"
  return {
    [`/${id}/realtime`]: {
      servers: [{ url: "https://fal.run" }],
      "x-fal-protocol": { type: "realtime", config, contentType, realtimeMode: "unary" },
      post: {
        requestBody: {
          required: true,
          content: { [contentType]: { schema: referTo(inputName) } },
        },
        responses: { "200": { description: "The answer to one message.", content: {} } },
      },
    },
  }
}

function ok(description: string, schema: JsonSchema): Record<string, unknown> {
  return { "200": { description, ...json(schema) } }
}

function json(schema: JsonSchema): Record<string, unknown> {
  return { content: { "application/json": { schema } } }
}

function referTo(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` }
}
