import { decode, encode } from "@msgpack/msgpack"

/** What the other end of a realtime connection has said. */
export type Heard =
  | { kind: "result"; result: unknown }
  /** Of the connection itself, not of the app. */
  | { kind: "note" }
  /** No input came for a while; the next one opens another connection. */
  | { kind: "idle" }
  | { kind: "error"; code: string; message: string }

export type Encoding = "msgpack" | "json"

export function writeInput(input: unknown, encoding: Encoding): string | Uint8Array<ArrayBuffer> {
  if (encoding === "json") return JSON.stringify(input)
  // What is undefined is left out, as JSON does.
  return encode(input, { ignoreUndefined: true })
}

/** A binary frame is msgpack, a text JSON; both may carry a result, and only a text speaks of the connection. */
export function readFrame(data: unknown): Heard {
  if (typeof data !== "string") {
    return { kind: "result", result: decode(new Uint8Array(data as ArrayBuffer)) }
  }
  const said: unknown = JSON.parse(data)
  const { type, status, error, reason } =
    typeof said === "object" && said !== null ? (said as Record<string, unknown>) : {}
  if (type === "x-fal-message") return { kind: "note" }
  if (type === "x-fal-error") {
    if (error === "TIMEOUT") return { kind: "idle" }
    return { kind: "error", code: String(error), message: String(reason ?? error) }
  }
  if (status === "error") return { kind: "error", code: String(error), message: String(error) }
  return { kind: "result", result: said }
}
