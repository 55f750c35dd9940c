import { join } from "node:path"
import { nearest } from "@tintype/protocol"
import { dataFolderOf, readLocalSecret } from "../account-records.ts"
import { parseFlags, type ParsedFlags } from "../flags.ts"
import { readApiError } from "../queue/api-error.ts"
import { isRecord, parseJson, textOr } from "../queue/wire-reading.ts"
import { contactServer, startTemporary, type Contact } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { CommandError, exitCodes, printable, reasonOf, UsageError } from "../terminal.ts"

export const keysFlags = {
  scope: { type: "string" },
  name: { type: "string" },
  account: { type: "string" },
  apps: { type: "string" },
  "concurrency-max": { type: "string" },
  "requests-per-second-max": { type: "string" },
  "body-bytes-max": { type: "string" },
  data: { type: "string" },
  url: { type: "string" },
  json: { type: "boolean" },
} as const

const createOnly = Object.keys(keysFlags).slice(0, 7)
const actions = ["create", "list", "revoke"]

/** Tells the server who asks; none is needed twice. */
interface Administration {
  url: string
  /** Values of `Authorization`, the likeliest first. */
  credentials: string[]
  dataFolder: string
}

/** `tintype keys create|list|revoke`: who may call the server. */
export async function administerKeys(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, keysFlags)
  const [action = "", ...words] = flags.words
  if (!actions.includes(action)) {
    const near = nearest(action, actions)
    const hint = near === null ? "" : `; did you mean ${near}?`
    throw new UsageError(`tintype keys needs create, list or revoke${hint}`)
  }
  if (action !== "create") refuseFlags(flags, action)
  if (words.length !== (action === "revoke" ? 1 : 0)) {
    const wanted = action === "revoke" ? "one key id" : "flags only"
    throw new UsageError(`tintype keys ${action} takes ${wanted}`)
  }
  const asked = action === "create" ? readAsked(flags) : null
  const dataFolder = dataFolderOf(flags, terminal)
  const contact = await contactKeyServer(flags, dataFolder, terminal)
  try {
    const { url } = contact.target
    const credentials = await readCredentials(url, dataFolder, terminal.env["TINTYPE_KEY"] || null)
    const server = { url, credentials, dataFolder }
    if (asked !== null) await createKey(server, asked, flags, terminal)
    else if (action === "list") await listKeys(server, flags, terminal)
    else await revokeKey(server, words[0] ?? "", flags, terminal)
    return exitCodes.succeeded
  } finally {
    await contact.close()
  }
}

function refuseFlags(flags: ParsedFlags, action: string): void {
  const wrong = createOnly.find((name) => flags.strings[name] !== undefined)
  if (wrong !== undefined) throw new UsageError(`tintype keys ${action} takes no --${wrong}`)
}

/** The running server; with none on this machine, one that serves the data folder for this command alone. */
async function contactKeyServer(
  flags: ParsedFlags,
  dataFolder: string,
  terminal: Terminal,
): Promise<Contact> {
  const url = flags.strings["url"]
  const note = (line: string): unknown => terminal.err.write(`${line}\n`)
  return await contactServer(url, terminal, note, async (tried) => {
    note(`No server at ${tried}: opening the data folder ${dataFolder} for this command`)
    return await startTemporary(terminal, { data: dataFolder, "runner-local": "false" })
  })
}

async function readCredentials(
  url: string,
  dataFolder: string,
  key: string | null,
): Promise<string[]> {
  const secret = await readLocalSecret(url, dataFolder)
  const credentials = [
    ...(secret === null ? [] : [`Local ${secret}`]),
    ...(key === null ? [] : [`Key ${key}`]),
  ]
  if (credentials.length > 0) return credentials
  throw new CommandError(
    `Keys of ${url} are administered with an admin key in TINTYPE_KEY, or on its own machine with its data folder: ` +
      `there is no ${join(dataFolder, "secret")} (see --data)`,
  )
}

/** The first credentials that are not refused decide. */
async function call(
  { url, credentials, dataFolder }: Administration,
  path: string,
  init: RequestInit = {},
): Promise<Record<string, unknown>> {
  let refused: Response | null = null
  for (const authorization of credentials) {
    const headers = { authorization, "content-type": "application/json" }
    const response = await fetch(`${url}/_/keys${path}`, { ...init, headers }).catch((cause) => {
      throw new CommandError(`${url} does not answer: ${reasonOf(cause)}`, { cause })
    })
    if (response.ok) {
      const body = parseJson(await response.text())
      return isRecord(body) ? body : {}
    }
    refused = response
    if (response.status !== 401) break
  }
  const { status, lines } = await readApiError(refused!)
  const hint = status === 401 ? [`Is ${dataFolder} the data folder of ${url}? See --data`] : []
  throw new CommandError([...lines, ...hint].join("\n"))
}

function readAsked({ strings }: ParsedFlags): Record<string, unknown> {
  const { scope, name, account, apps } = strings
  if (scope === undefined)
    throw new UsageError("tintype keys create needs --scope api|admin|runner")
  const limits = {
    concurrency_max: readLimit(strings, "concurrency-max"),
    requests_per_second_max: readLimit(strings, "requests-per-second-max"),
    body_bytes_max: readLimit(strings, "body-bytes-max"),
  }
  return {
    scope,
    name: name ?? "",
    ...(account === undefined ? {} : { account }),
    ...(apps === undefined ? {} : { apps: apps.split(",").map((id) => id.trim()) }),
    limits,
  }
}

function readLimit(strings: Record<string, string>, name: string): number | null {
  const given = strings[name]
  if (given === undefined) return null
  if (/^[1-9]\d{0,14}$/.test(given)) return Number(given)
  throw new UsageError(`--${name} must be a whole number above 0`)
}

async function createKey(
  server: Administration,
  asked: Record<string, unknown>,
  flags: ParsedFlags,
  terminal: Terminal,
): Promise<void> {
  const made = await call(server, "", { method: "POST", body: JSON.stringify(asked) })
  if (flags.booleans.has("json")) {
    terminal.out.write(`${JSON.stringify(made, null, 2)}\n`)
    return
  }
  terminal.out.write(`${textOr(made["key"], "")}\n`)
  const [scope, account] = [textOr(made["scope"], ""), textOr(made["account"], "")]
  terminal.err.write(
    printable(`A key of the scope ${scope} for the account ${account}. It is shown this once.\n`),
  )
}

async function listKeys(
  server: Administration,
  flags: ParsedFlags,
  terminal: Terminal,
): Promise<void> {
  const { keys } = await call(server, "")
  if (flags.booleans.has("json")) {
    terminal.out.write(`${JSON.stringify(keys, null, 2)}\n`)
    return
  }
  const rows = (Array.isArray(keys) ? keys : []).map((key: unknown) => describe(key))
  const columns = ["ID", "SCOPE", "ACCOUNT", "CREATED", "LAST USED", "STATE", "NAME"]
  const table = [columns, ...rows]
  const widths = columns.map((_, index) => Math.max(...table.map((row) => row[index]!.length)))
  for (const row of table) {
    const line = row.map((cell, index) => cell.padEnd(widths[index]!)).join("  ")
    terminal.out.write(`${printable(line.trimEnd())}\n`)
  }
}

function describe(key: unknown): string[] {
  const row = isRecord(key) ? key : {}
  const at = (name: string) => textOr(row[name], "–").slice(0, 16).replace("T", " ")
  const state = row["revoked_at"] === null ? "active" : `revoked ${at("revoked_at")}`
  const [id, scope, account] = ["key_id", "scope", "account"].map((name) => textOr(row[name], ""))
  return [
    id!,
    scope!,
    account!,
    at("created_at"),
    at("last_used_at"),
    state,
    textOr(row["name"], ""),
  ]
}

async function revokeKey(
  server: Administration,
  id: string,
  flags: ParsedFlags,
  terminal: Terminal,
): Promise<void> {
  // Whoever gives the whole key means its id.
  const name = id.split(":", 1)[0] ?? id
  const revoked = await call(server, `/${encodeURIComponent(name)}`, { method: "DELETE" })
  if (flags.booleans.has("json")) {
    terminal.out.write(`${JSON.stringify(revoked, null, 2)}\n`)
    return
  }
  terminal.out.write(`${printable(name)}\n`)
  const open = revoked["open_mode"] === true
  terminal.err.write(
    open
      ? "Revoked. No key is left: every program on this machine may call the server now.\n"
      : "Revoked.\n",
  )
}
