import { readFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import type { ParsedFlags } from "./flags.ts"
import { readApiError } from "./queue/api-error.ts"
import type { QueueTarget } from "./queue/queue-calls.ts"
import { isRecord, parseJson } from "./queue/wire-reading.ts"
import { contactServer, isLoopback } from "./server-contact.ts"
import type { Terminal } from "./terminal.ts"
import { CommandError, reasonOf } from "./terminal.ts"

/** A running server's records of an account, below `/_/`: its requests, its webhooks. */
export interface AccountRecords extends QueueTarget {
  dataFolder: string
}

/** Finds the server that keeps them. A temporary one would know of none. */
export async function contactRecords(
  flags: ParsedFlags,
  terminal: Terminal,
): Promise<AccountRecords> {
  const { target } = await contactServer(flags.strings["url"], terminal, () => {}, refuse)
  return { ...target, dataFolder: dataFolderOf(flags, terminal) }
}

function refuse(url: string): Promise<never> {
  return Promise.reject(new CommandError(`No server answers at ${url}`))
}

export function dataFolderOf({ strings }: ParsedFlags, { cwd, env }: Terminal): string {
  return resolve(cwd, strings["data"] ?? (env["TINTYPE_DATA"] || ".tintype"))
}

/** The data folder's secret is for this machine alone: it never goes anywhere else. */
export async function readLocalSecret(url: string, dataFolder: string): Promise<string | null> {
  if (!isLoopback(new URL(url).hostname)) return null
  const text = await readFile(join(dataFolder, "secret"), "utf8").catch(() => null)
  return text?.trim() ?? null
}

/**
 * One call, with the key if there is one. A server that refuses whoever has none is asked again with the secret of its data
 * folder, which stands for the account `local`.
 */
export async function callRecords(
  { url, key, dataFolder }: AccountRecords,
  path: string,
  method: "GET" | "POST" = "GET",
): Promise<Record<string, unknown>> {
  const send = async (authorization: string | null): Promise<Response> => {
    const headers = { ...(authorization === null ? {} : { authorization }) }
    return await fetch(`${url}${path}`, { method, headers }).catch((cause) => {
      throw new CommandError(`${url} does not answer: ${reasonOf(cause)}`, { cause })
    })
  }
  let response = await send(key === null ? null : `Key ${key}`)
  if (response.status === 401 && key === null) {
    const secret = await readLocalSecret(url, dataFolder)
    if (secret !== null) {
      await response.body?.cancel()
      response = await send(`Local ${secret}`)
    }
  }
  if (!response.ok) throw new CommandError((await readApiError(response)).lines.join("\n"))
  const body = parseJson(await response.text())
  return isRecord(body) ? body : {}
}

/** Of one answer of the server. */
const pageMax = 100

/** Reads a list page by page until so many are found, or there are no more; the rows are at `field`. */
export async function readRecordList(
  records: AccountRecords,
  path: string,
  { query, field, wanted }: { query: URLSearchParams; field: string; wanted: number },
): Promise<{ rows: Record<string, unknown>[]; cursor: string | null }> {
  const rows: Record<string, unknown>[] = []
  while (rows.length < wanted) {
    query.set("limit", String(Math.min(pageMax, wanted - rows.length)))
    const page = await callRecords(records, `${path}?${query.toString()}`)
    const found = page[field]
    if (Array.isArray(found)) rows.push(...found.filter(isRecord))
    const cursor = page["next_cursor"]
    if (typeof cursor !== "string") return { rows, cursor: null }
    query.set("cursor", cursor)
  }
  return { rows, cursor: query.get("cursor") }
}
