/**
 * Names of what can be called, and the routes of the queue that are made of them:
 *
 *     owner/alias[/path…]      workflows/owner/name[/path…]      comfy/owner/name[/path…]      123-alias
 *
 * An alias may carry an environment, `my-app--staging`, which is part of it.
 */
export interface EndpointId {
  namespace: EndpointNamespace | null
  owner: string
  alias: string
  /** The app's own path: empty, or `/image-to-image`. */
  path: string
  /** What the endpoint belongs to: `owner/alias`, behind its namespace when it has one. */
  app: string
  /** The full id, `app` + `path`. */
  id: string
}

export type EndpointNamespace = "workflows" | "comfy"

export const endpointIdLengthMax = 512
const segmentsMax = 32

/**
 * Reads an id, or the path of a URL that is one: a leading and a trailing slash are allowed, and percent-escapes are
 * decoded within their segment. Null when it is not a legal id.
 *
 *     parseEndpointId("/fal-ai/flux/dev") // owner fal-ai, alias flux, path /dev
 */
export function parseEndpointId(path: string): EndpointId | null {
  const segments = splitPath(path)
  return segments === null ? null : fromSegments(segments)
}

/** The one spelling of an id that `parseEndpointId` reads back. */
export function formatEndpointId(
  id: Pick<EndpointId, "namespace" | "owner" | "alias" | "path">,
): string {
  const app = id.namespace === null ? id.owner : `${id.namespace}/${id.owner}`
  return `${app}/${id.alias}${id.path}`
}

export type RequestAction = "status" | "stream" | "result" | "cancel"

export type QueuePath =
  | { kind: "submit"; endpoint: EndpointId }
  | { kind: "request"; app: string; requestId: string; action: RequestAction }
  | { kind: "no_request" }
  | { kind: "wrong_method"; allow: string[] }

/**
 * What a call of the queue means. POST is a submit, for ids that end in `/stream` exist and apps may have any path; only
 * on a request's own routes it is the wrong method: whoever cancels with it must not get a new request instead. The
 * other methods never are a submit. Of several `/requests/{id}` in a path the last counts. The prefix may be the app or
 * any endpoint of it. Null: neither an endpoint nor a request.
 *
 *     parseQueuePath("GET", "/fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b/status")
 */
export function parseQueuePath(method: string, path: string): QueuePath | null {
  const segments = splitPath(path)
  if (segments === null) return null
  const route = findRequest(segments)
  if (method === "POST" && route === null) {
    const endpoint = fromSegments(segments)
    return endpoint === null ? null : { kind: "submit", endpoint }
  }
  if (route === null) {
    // An id that no request can have is an unknown request, not an endpoint called with the wrong method.
    if (segments.indexOf("requests", 1) > 0) return { kind: "no_request" }
    return fromSegments(segments) === null ? null : { kind: "wrong_method", allow: ["POST"] }
  }
  const allow = route.action === "cancel" ? ["PUT"] : ["GET", "HEAD"]
  return allow.includes(method) ? { kind: "request", ...route } : { kind: "wrong_method", allow }
}

const actions: Record<string, RequestAction> = {
  "": "result",
  response: "result",
  status: "status",
  "status/stream": "stream",
  cancel: "cancel",
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

function findRequest(
  segments: string[],
): { app: string; requestId: string; action: RequestAction } | null {
  for (let at = segments.length - 2; at > 0; at -= 1) {
    const requestId = segments[at + 1]!.toLowerCase()
    if (segments[at] !== "requests" || !uuid.test(requestId)) continue
    const tail = segments.slice(at + 2).join("/")
    const endpoint = fromSegments(segments.slice(0, at))
    if (!Object.hasOwn(actions, tail) || endpoint === null) continue
    return { app: endpoint.app, requestId, action: actions[tail]! }
  }
  return null
}

const legacy = /^([0-9]+)-([A-Za-z0-9-]+)$/

function fromSegments(segments: string[]): EndpointId | null {
  const first = segments[0]!
  if (segments.length === 1) {
    const match = legacy.exec(first)
    return match === null ? null : build(null, [match[1]!, match[2]!])
  }
  if (first !== "workflows" && first !== "comfy") return build(null, segments)
  return segments.length < 3 ? null : build(first, segments.slice(1))
}

function build(namespace: EndpointNamespace | null, segments: string[]): EndpointId {
  const [owner = "", alias = "", ...rest] = segments
  const path = rest.map((segment) => `/${segment}`).join("")
  const parts = { namespace, owner, alias, path }
  return {
    ...parts,
    app: formatEndpointId({ ...parts, path: "" }),
    id: formatEndpointId(parts),
  }
}

const legalSegment = /^[A-Za-z0-9_.-]+$/

/** The decoded segments; null when one is illegal. Decoding comes after splitting, so it cannot add a slash. */
function splitPath(path: string): string[] | null {
  if (path.length > endpointIdLengthMax) return null
  const segments = path.replace(/^\//, "").replace(/\/$/, "").split("/")
  if (segments.length > segmentsMax) return null
  const decoded = segments.map(decodeSegment)
  return decoded.every((segment) => segment !== null) ? decoded : null
}

function decodeSegment(segment: string): string | null {
  let text: string
  try {
    text = decodeURIComponent(segment)
  } catch {
    return null
  }
  return legalSegment.test(text) && text !== "." && text !== ".." ? text : null
}
