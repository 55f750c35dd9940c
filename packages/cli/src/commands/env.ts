import { mkdir, rename, writeFile } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { nearest } from "@tintype/protocol"
import { dataFolderOf } from "../account-records.ts"
import { bundleVariables } from "../doors/program-environment.ts"
import { assign, isShell, type Shell, shells } from "../doors/shells.ts"
import { findTlsDoor, trustBundle } from "../doors/tls-door.ts"
import { parseFlags } from "../flags.ts"
import { contactServer } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { CommandError, exitCodes, UsageError } from "../terminal.ts"

export const envFlags = {
  shell: { type: "string" },
  bundle: { type: "string" },
  data: { type: "string" },
  url: { type: "string" },
} as const

/** `tintype env`: variables by which the official Python client, unchanged, calls a server of ours. */
export async function printEnvironment(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, envFlags)
  if (flags.words.length > 0) {
    throw new UsageError(`tintype env takes flags only, not ${JSON.stringify(flags.words[0])}`)
  }
  const shell = readShell(flags.strings["shell"] ?? "sh")
  const { target } = await contactServer(flags.strings["url"], terminal, () => {}, refuse)
  const door = await findTlsDoor(target)
  const given = flags.strings["bundle"]
  const bundlePath =
    given === undefined
      ? join(dataFolderOf(flags, terminal), "ca-bundle.pem")
      : resolve(terminal.cwd, given)
  await writeBundle(bundlePath, trustBundle(door.ca))
  const authority = `${door.host.includes(":") ? `[${door.host}]` : door.host}:${door.port}`
  const variables = {
    FAL_RUN_HOST: `${authority}/run`,
    FAL_QUEUE_RUN_HOST: `${authority}/queue`,
    FAL_KEY: door.key,
    ...Object.fromEntries(bundleVariables.map((name) => [name, bundlePath])),
  }
  terminal.out.write(assign(shell, variables))
  terminal.err.write(
    "For run and queue of the Python client. It has the hosts of files, tokens and realtime built in, as have other " +
      "clients all of theirs: for those, tintype exec -- COMMAND.\n",
  )
  return exitCodes.succeeded
}

function readShell(name: string): Shell {
  if (isShell(name)) return name
  const near = nearest(name, shells)
  const hint = near === null ? "" : `; did you mean ${near}?`
  throw new UsageError(`--shell must be ${shells.join(", ")}${hint}`)
}

function refuse(url: string): Promise<never> {
  return Promise.reject(
    new CommandError(`No server answers at ${url}: start one with npm start, or tintype serve`),
  )
}

/** Whole or not at all: a program that was started with an earlier one may be reading it. */
async function writeBundle(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFile(`${path}.new`, text, { mode: 0o600 })
    await rename(`${path}.new`, path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new CommandError(`${path} cannot be written (${code}); choose another with --bundle`, {
      cause,
    })
  }
}
