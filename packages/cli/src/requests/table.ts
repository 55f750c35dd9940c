import { printable } from "../terminal.ts"
import type { RequestSummary } from "./history.ts"
import { formatAge, formatSpan } from "./span.ts"

const columns = ["ID", "STATE", "AGE", "TOOK", "TRIES", "ENDPOINT"]
const widthMax = 100

/** Requests as a table of at most a hundred columns; an endpoint that is too long for it is cut. */
export function formatTable(requests: readonly RequestSummary[], now: number): string {
  const rows = [columns, ...requests.map((request) => cellsOf(request, now))]
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => `${printable(formatRow(row, widths))}\n`).join("")
}

function formatRow(row: string[], widths: number[]): string {
  const [endpoint = "", ...others] = row.toReversed()
  const start = others
    .toReversed()
    .map((cell, column) => cell.padEnd(widths[column]!))
    .join("  ")
  const room = widthMax - start.length - 2
  const shown = endpoint.length <= room ? endpoint : `${endpoint.slice(0, room - 1)}…`
  return `${start}  ${shown}`.trimEnd()
}

function cellsOf(request: RequestSummary, now: number): string[] {
  const { id, state, position, outcome, submittedAt, finishedAt, attemptsMade, endpoint } = request
  const status = state === "failed" && outcome !== null ? ` ${outcome.status}` : ""
  const place = state === "queued" && position !== null ? ` #${position + 1}` : ""
  return [
    id,
    `${state}${status}${place}`,
    formatAge(now - submittedAt),
    finishedAt === null ? "–" : formatSpan(finishedAt - submittedAt),
    String(attemptsMade),
    endpoint,
  ]
}
