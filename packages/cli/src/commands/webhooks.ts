import { nearest } from "@tintype/protocol"
import {
  type AccountRecords,
  callRecords,
  contactRecords,
  readRecordList,
} from "../account-records.ts"
import { parseFlags, type ParsedFlags } from "../flags.ts"
import { isRecord, textOr } from "../queue/wire-reading.ts"
import type { Terminal } from "../terminal.ts"
import { exitCodes, printable, UsageError } from "../terminal.ts"

export const webhooksFlags = {
  state: { type: "string" },
  limit: { type: "string" },
  data: { type: "string" },
  url: { type: "string" },
  json: { type: "boolean" },
} as const

const actions = ["list", "show", "resend"]
const listOnly = ["state", "limit"]
const limitDefault = 50
const path = "/_/webhooks"

/** `tintype webhooks list|show|resend`: what became of the webhooks that requests asked for. */
export async function administerWebhooks(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, webhooksFlags)
  const [action = "", ...ids] = flags.words
  if (!actions.includes(action)) {
    const near = nearest(action, actions)
    const hint = near === null ? "" : `; did you mean ${near}?`
    throw new UsageError(`tintype webhooks needs list, show or resend${hint}`)
  }
  const [id = ""] = ids
  if (ids.length !== (action === "list" ? 0 : 1)) {
    const wanted = action === "list" ? "flags only" : "one request id"
    throw new UsageError(`tintype webhooks ${action} takes ${wanted}`)
  }
  const wrong = action === "list" ? undefined : listOnly.find((name) => name in flags.strings)
  if (wrong !== undefined) throw new UsageError(`tintype webhooks ${action} takes no --${wrong}`)
  const records = await contactRecords(flags, terminal)
  const json = flags.booleans.has("json")
  const print = (value: unknown, text: string) =>
    terminal.out.write(json ? `${JSON.stringify(value, null, 2)}\n` : printable(text))
  if (action === "list") {
    const deliveries = await readList(records, flags)
    print(deliveries, [header, ...deliveries.map(describe)].join(""))
  } else if (action === "show") {
    const shown = await callRecords(records, `${path}/${encodeURIComponent(id)}`)
    const tries = Array.isArray(shown["tries"]) ? shown["tries"].filter(isRecord) : []
    print(shown, [describe(shown), ...tries.map(describeTry)].join(""))
  } else {
    const sent = await callRecords(records, `${path}/${encodeURIComponent(id)}/resend`, "POST")
    print(sent, describe(sent))
  }
  return exitCodes.succeeded
}

async function readList(
  records: AccountRecords,
  { strings }: ParsedFlags,
): Promise<Record<string, unknown>[]> {
  const { state, limit = String(limitDefault) } = strings
  if (!/^[1-9]\d{0,5}$/.test(limit)) throw new UsageError("--limit must be a whole number above 0")
  const query = new URLSearchParams()
  if (state !== undefined) query.set("state", state)
  const asked = { query, field: "deliveries", wanted: Number(limit) }
  return (await readRecordList(records, path, asked)).rows
}

const header = `${[
  "ID".padEnd(36),
  "STATE".padEnd(9),
  "TRIES".padEnd(8),
  "ENDED OR NEXT TRY".padEnd(19),
  "URL",
].join("  ")}\n`

/** `764cabcf-…  delivered  1 try  2026-01-01 00:00:00  https://example.com/hook` */
function describe(delivery: Record<string, unknown>): string {
  const tries = Number(delivery["try_count"])
  const at = textOr(delivery["finished_at"] ?? delivery["next_try_at"], "")
  const cells = [
    textOr(delivery["request_id"], ""),
    textOr(delivery["state"], "").padEnd(9),
    `${tries} ${tries === 1 ? "try" : "tries"}`.padEnd(8),
    seconds(at),
    textOr(delivery["url"], ""),
  ]
  return `${cells.join("  ")}\n`
}

function describeTry(made: Record<string, unknown>): string {
  const error = textOr(made["error"], "")
  const detail = textOr(made["detail"], "")
  const result = error === "" ? String(made["status"]) : `${error}: ${detail}`
  const answer = textOr(made["answer"], "").replaceAll(/\s+/g, " ").slice(0, 200)
  const cells = [
    String(made["number"]).padStart(4),
    seconds(textOr(made["at"], "")),
    `${String(made["duration_ms"])} ms`.padStart(9),
    result,
    answer,
  ]
  return `${cells.join("  ").trimEnd()}\n`
}

function seconds(iso: string): string {
  return iso.slice(0, 19).replace("T", " ")
}
