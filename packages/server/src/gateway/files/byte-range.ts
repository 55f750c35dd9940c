import type { IncomingHttpHeaders } from "node:http"

/** Both inclusive. */
export interface ByteRange {
  start: number
  end: number
}

/** The one range asked for; null for the whole file, as for several ranges and for what is no range at all. */
export function readRange(
  headers: IncomingHttpHeaders,
  bytes: number,
  etag: string,
): ByteRange | "unsatisfiable" | null {
  const ifRange = headers["if-range"]
  if (typeof ifRange === "string" && ifRange.trim() !== etag) return null
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(headers.range ?? "")
  if (match === null) return null
  const [first = "", last = ""] = match.slice(1)
  if (first === "" && last === "") return null
  if (first === "") {
    const length = Math.min(Number(last), bytes)
    return length === 0 ? "unsatisfiable" : { start: bytes - length, end: bytes - 1 }
  }
  const start = Number(first)
  const end = last === "" ? bytes - 1 : Math.min(Number(last), bytes - 1)
  if (last !== "" && Number(last) < start) return null
  return start >= bytes ? "unsatisfiable" : { start, end }
}
