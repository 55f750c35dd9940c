import { nearest } from "@tintype/protocol"
import {
  type AccountRecords,
  callRecords,
  contactRecords,
  readRecordList,
} from "../account-records.ts"
import { parseFlags, type ParsedFlags } from "../flags.ts"
import { readHistory, readSummary } from "../requests/history.ts"
import { formatTable } from "../requests/table.ts"
import { formatTimeline } from "../requests/timeline.ts"
import type { Terminal } from "../terminal.ts"
import { exitCodes, printable, UsageError } from "../terminal.ts"

export const requestsFlags = {
  state: { type: "string" },
  endpoint: { type: "string" },
  app: { type: "string" },
  limit: { type: "string" },
  cursor: { type: "string" },
  data: { type: "string" },
  url: { type: "string" },
  json: { type: "boolean" },
} as const

const actions = ["list", "show"]
const filters = ["state", "endpoint", "app", "cursor"]
const listOnly = [...filters, "limit"]
const limitDefault = 50
const path = "/_/requests"

/** `tintype requests list|show`: what became of requests, and when. */
export async function showRequests(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, requestsFlags)
  const [action = "", ...ids] = flags.words
  if (!actions.includes(action)) {
    const near = nearest(action, actions)
    const hint = near === null ? "" : `; did you mean ${near}?`
    throw new UsageError(`tintype requests needs list or show${hint}`)
  }
  if (ids.length !== (action === "list" ? 0 : 1)) {
    const wanted = action === "list" ? "flags only" : "one request id"
    throw new UsageError(`tintype requests ${action} takes ${wanted}`)
  }
  const wrong = action === "list" ? undefined : listOnly.find((name) => name in flags.strings)
  if (wrong !== undefined) throw new UsageError(`tintype requests ${action} takes no --${wrong}`)
  const limit = flags.strings["limit"] ?? String(limitDefault)
  if (!/^[1-9]\d{0,5}$/.test(limit)) throw new UsageError("--limit must be a whole number above 0")
  const records = await contactRecords(flags, terminal)
  if (action === "list") await list(records, flags, Number(limit), terminal)
  else await show(records, ids[0] ?? "", flags, terminal)
  return exitCodes.succeeded
}

async function list(
  records: AccountRecords,
  { strings, booleans }: ParsedFlags,
  wanted: number,
  { out, err }: Terminal,
): Promise<void> {
  const query = new URLSearchParams()
  for (const name of filters) {
    const value = strings[name]
    if (value !== undefined) query.set(name, value)
  }
  const { rows, cursor } = await readRecordList(records, path, { query, field: "requests", wanted })
  if (booleans.has("json")) {
    const page = { requests: rows, next_cursor: cursor, has_more: cursor !== null }
    out.write(`${JSON.stringify(page, null, 2)}\n`)
    return
  }
  out.write(formatTable(rows.map(readSummary), Date.now()))
  if (cursor !== null) err.write(printable(`There are more: add --cursor ${cursor}\n`))
}

async function show(
  records: AccountRecords,
  id: string,
  { booleans }: ParsedFlags,
  { out }: Terminal,
): Promise<void> {
  const shown = await callRecords(records, `${path}/${encodeURIComponent(id)}`)
  out.write(
    booleans.has("json")
      ? `${JSON.stringify(shown, null, 2)}\n`
      : printable(formatTimeline(readHistory(shown), Date.now())),
  )
}
