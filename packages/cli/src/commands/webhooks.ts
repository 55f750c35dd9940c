import { nearest } from "@tintype/protocol"
import { parseFlags, type ParsedFlags } from "../flags.ts"
import { readApiError } from "../queue/api-error.ts"
import type { QueueTarget } from "../queue/queue-calls.ts"
import { isRecord, parseJson, textOr } from "../queue/wire-reading.ts"
import { contactServer } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { CommandError, exitCodes, printable, reasonOf, UsageError } from "../terminal.ts"

export const webhooksFlags = {
  state: { type: "string" },
  account: { type: "string" },
  limit: { type: "string" },
  url: { type: "string" },
  json: { type: "boolean" },
} as const

const actions = ["list", "show", "resend"]
const listOnly = ["state", "account", "limit"]
const limitDefault = 50
/** Of one answer of the server. */
const pageMax = 100

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
  const { target } = await contactServer(flags.strings["url"], terminal, () => {}, refuse)
  const json = flags.booleans.has("json")
  const print = (value: unknown, text: string) =>
    terminal.out.write(json ? `${JSON.stringify(value, null, 2)}\n` : printable(text))
  if (action === "list") {
    const deliveries = await readList(target, flags)
    print(deliveries, deliveries.map(describe).join(""))
  } else if (action === "show") {
    const shown = await call(target, `/${encodeURIComponent(id)}`)
    const tries = Array.isArray(shown["tries"]) ? shown["tries"].filter(isRecord) : []
    print(shown, [describe(shown), ...tries.map(describeTry)].join(""))
  } else {
    const sent = await call(target, `/${encodeURIComponent(id)}/resend`, { method: "POST" })
    print(sent, describe(sent))
  }
  return exitCodes.succeeded
}

/** A temporary server would know of no webhook. */
function refuse(url: string): Promise<never> {
  return Promise.reject(new CommandError(`No server answers at ${url}`))
}

async function readList(
  target: QueueTarget,
  { strings }: ParsedFlags,
): Promise<Record<string, unknown>[]> {
  const { state, account, limit = String(limitDefault) } = strings
  if (!/^[1-9]\d{0,5}$/.test(limit)) throw new UsageError("--limit must be a number above 0")
  const wanted = Number(limit)
  const query = new URLSearchParams()
  if (state !== undefined) query.set("state", state)
  if (account !== undefined) query.set("account", account)
  const found: Record<string, unknown>[] = []
  while (found.length < wanted) {
    query.set("limit", String(Math.min(pageMax, wanted - found.length)))
    const page = await call(target, `?${query.toString()}`)
    if (Array.isArray(page["deliveries"])) found.push(...page["deliveries"].filter(isRecord))
    const cursor = page["next_cursor"]
    if (typeof cursor !== "string") break
    query.set("cursor", cursor)
  }
  return found
}

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

async function call(
  { url, key }: QueueTarget,
  path: string,
  init: RequestInit = {},
): Promise<Record<string, unknown>> {
  const headers = { ...(key === null ? {} : { authorization: `Key ${key}` }) }
  const response = await fetch(`${url}/_/webhooks${path}`, { ...init, headers }).catch((cause) => {
    throw new CommandError(`${url} does not answer: ${reasonOf(cause)}`, { cause })
  })
  if (!response.ok) throw new CommandError((await readApiError(response)).lines.join("\n"))
  const body = parseJson(await response.text())
  return isRecord(body) ? body : {}
}
