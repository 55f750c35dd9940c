import { availableParallelism } from "node:os"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { buildId, type RemoteRunnerCommand } from "@tintype/runner/supervision"
import { parseFlags, type ParsedFlags } from "../flags.ts"
import { RunnerSupervisor } from "../runner-supervisor.ts"
import { defaultUrl, isLoopback, readUrl } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { UsageError } from "../terminal.ts"

export const runnerFlags = {
  app: { type: "string", multiple: true },
  url: { type: "string" },
  key: { type: "string" },
  slots: { type: "string" },
  "allow-private-targets": { type: "string" },
} as const

const slotsMax = 1_024
const graceMs = 10_000

/** `tintype runner`: hosts apps for a server, which may be on another machine, until a signal ends it. */
export async function joinServer(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, runnerFlags)
  if (flags.words.length > 0) {
    throw new UsageError(`tintype runner takes flags only, not ${JSON.stringify(flags.words[0])}`)
  }
  const key = readKey(flags, terminal)
  const command = await readCommand(flags, terminal)
  return await new RunnerSupervisor({ command, key, terminal }).run()
}

async function readCommand(flags: ParsedFlags, terminal: Terminal): Promise<RemoteRunnerCommand> {
  const { strings, lists } = flags
  const url = readUrl(strings["url"] ?? (terminal.env["TINTYPE_URL"] || defaultUrl))
  const apps = (lists["app"] ?? []).map((app) => moduleOf(app, terminal.cwd))
  if (apps.length === 0) {
    throw new UsageError("tintype runner needs an app to host: --app ./my-app.ts")
  }
  return {
    url,
    apps,
    slots: readSlots(strings["slots"]),
    build: await buildId(apps.join("\n"), []),
    ownOrigins: [new URL(url).origin],
    graceMs,
    allowPrivateTargets: readAllowed(strings["allow-private-targets"], url),
  }
}

/** It is never shown again, in an error neither. */
function readKey({ strings }: ParsedFlags, { env }: Terminal): string {
  const key = strings["key"] ?? (env["TINTYPE_KEY"] || null)
  if (key === null) {
    throw new UsageError(
      "tintype runner needs a key in TINTYPE_KEY, made on the server with tintype keys create --scope runner",
    )
  }
  if (!/^[^\s:]+:\S+$/.test(key)) throw new UsageError("The key must be id:secret, without spaces")
  return key
}

function readSlots(given: string | undefined): number {
  if (given === undefined) return availableParallelism()
  const slots = /^\d{1,5}$/.test(given) ? Number(given) : 0
  if (slots >= 1 && slots <= slotsMax) return slots
  throw new UsageError(`--slots must be a whole number from 1 to ${slotsMax}`)
}

/** On the server's own machine its neighbours are no secret; from another one they may be. */
function readAllowed(given: string | undefined, url: string): boolean {
  if (given === undefined) return isLoopback(new URL(url).hostname)
  if (given === "true" || given === "false") return given === "true"
  throw new UsageError("--allow-private-targets must be true or false")
}

/** A file by its path, seen from here; a package by its name. */
function moduleOf(app: string, cwd: string): string {
  const isPath = /^[./]/.test(app) || /\.[cm]?[jt]s$/.test(app)
  return isPath ? pathToFileURL(resolve(cwd, app)).href : app
}
