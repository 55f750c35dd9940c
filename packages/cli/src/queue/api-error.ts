import { printable } from "../terminal.ts"
import { isRecord, parseJson, textOr } from "./wire-reading.ts"

/** An answer with an error status, read so that it can be printed. */
export class ApiError extends Error {
  readonly status: number
  /** Lines for a person, the first one is the message. */
  readonly lines: string[]

  constructor(status: number, lines: string[]) {
    super(lines[0] ?? `HTTP ${status}`)
    this.name = "ApiError"
    this.status = status
    this.lines = lines
  }
}

const bodyCharactersMax = 2_000

export async function readApiError(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "")
  return new ApiError(response.status, describeError(response.status, text))
}

/** The lines that say what was wrong: one a field for invalid input, else the detail with its status and type. */
export function describeError(status: number, text: string): string[] {
  const parsed = parseJson(text)
  const body = isRecord(parsed) ? parsed : {}
  const detail: unknown = body["detail"]
  if (Array.isArray(detail)) {
    const fields = detail.map((item) => `  ${describeField(isRecord(item) ? item : {})}`)
    return [
      status === 422 ? "The input was refused (422):" : `The app failed (${status}):`,
      ...fields,
    ]
  }
  const hints = hintsFor(status, body)
  // The platform API's shape: {"error": {"type", "message"}}.
  const platform = isRecord(body["error"]) ? body["error"] : null
  if (platform !== null) {
    const type = textOr(platform["type"], "error")
    return [printable(`${textOr(platform["message"], "failed")} (${status}, ${type})`), ...hints]
  }
  const type = typeof body["error_type"] === "string" ? `, ${body["error_type"]}` : ""
  if (typeof detail === "string") {
    return [printable(`${detail} (${status}${type})`), ...hints]
  }
  const short = printable(text.slice(0, bodyCharactersMax)).trim()
  return [short === "" ? `HTTP ${status}` : `HTTP ${status}: ${short}`]
}

function hintsFor(status: number, body: Record<string, unknown>): string[] {
  if (status === 401) return ["Set TINTYPE_KEY to the server's key, id:secret"]
  const nearest = textOr(body["nearest"], "")
  return nearest === "" ? [] : [printable(`Did you mean ${nearest}?`)]
}

/** `image_size.width: Input should be … (less_than_equal)` */
function describeField(item: Record<string, unknown>): string {
  const loc = Array.isArray(item["loc"]) ? item["loc"].slice(item["loc"][0] === "body" ? 1 : 0) : []
  const field = loc.length === 0 ? "" : `${loc.join(".")}: `
  const type = typeof item["type"] === "string" ? ` (${item["type"]})` : ""
  return printable(`${field}${textOr(item["msg"], "invalid")}${type}`)
}
