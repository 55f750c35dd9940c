/** One state of a request as the wire tells it. */
export interface StatusUpdate {
  status: "IN_QUEUE" | "IN_PROGRESS" | "COMPLETED"
  position: number | null
  /** The messages of the log lines. */
  logs: string[]
  progress: Progress | null
}

export interface Progress {
  step: number
  steps: number
}

export interface Model {
  id: string
  category: string
  title: string
}

export interface ModelsPage {
  models: Model[]
  /** The same as they came. */
  entries: unknown[]
  /** Of the next page; null on the last one. */
  cursor: string | null
}

/** A server answered with something that the protocol does not know. */
export class WireError extends Error {
  constructor(what: string) {
    super(`The server's answer is not what the protocol says: ${what}`)
    this.name = "WireError"
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Undefined for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function readRequestId(value: unknown): string {
  const id = isRecord(value) ? value["request_id"] : null
  // It becomes part of URLs and file names.
  if (typeof id === "string" && /^[\w-]{1,64}$/.test(id)) return id
  throw new WireError("no request_id")
}

export function readStatusUpdate(value: unknown): StatusUpdate {
  if (!isRecord(value)) throw new WireError("a status that is no object")
  const { status, queue_position: position, logs, progress } = value
  if (status !== "IN_QUEUE" && status !== "IN_PROGRESS" && status !== "COMPLETED") {
    throw new WireError("an unknown status")
  }
  return {
    status,
    position: typeof position === "number" ? position : null,
    logs: Array.isArray(logs) ? logs.map(readMessage) : [],
    progress: readProgress(progress),
  }
}

function readMessage(line: unknown): string {
  return isRecord(line) ? textOr(line["message"], "") : ""
}

function readProgress(value: unknown): Progress | null {
  if (!isRecord(value)) return null
  const { step, steps } = value
  return typeof step === "number" && typeof steps === "number" ? { step, steps } : null
}

export function readModelsPage(value: unknown): ModelsPage {
  if (!isRecord(value) || !Array.isArray(value["models"])) throw new WireError("no models")
  const cursor = value["next_cursor"]
  const goesOn = value["has_more"] === true && typeof cursor === "string" && cursor !== ""
  const entries: unknown[] = value["models"]
  return { models: entries.map(readModel), entries, cursor: goesOn ? cursor : null }
}

function readModel(value: unknown): Model {
  const model = isRecord(value) ? value : {}
  const metadata = isRecord(model["metadata"]) ? model["metadata"] : {}
  return {
    id: textOr(model["endpoint_id"], "?"),
    category: textOr(metadata["category"], ""),
    title: textOr(metadata["display_name"], ""),
  }
}

export function textOr(value: unknown, otherwise: string): string {
  return typeof value === "string" ? value : otherwise
}
