import { printTypes } from "./commands/endpoint-types.ts"
import { printEnvironment } from "./commands/env.ts"
import { exec } from "./commands/exec.ts"
import { printHelp, printVersion } from "./commands/help.ts"
import { administerKeys } from "./commands/keys.ts"
import { listModels } from "./commands/models.ts"
import { showRequests } from "./commands/requests.ts"
import { runEndpoint } from "./commands/run.ts"
import { joinServer } from "./commands/runner.ts"
import { serve } from "./commands/serve.ts"
import { administerWebhooks } from "./commands/webhooks.ts"
import { nearest } from "@tintype/protocol"
import type { Terminal } from "./terminal.ts"
import { CommandError, exitCodes, printable, processTerminal, UsageError } from "./terminal.ts"

type Command = (argv: string[], terminal: Terminal) => Promise<number> | number

const commands: Record<string, Command> = {
  serve,
  run: runEndpoint,
  exec,
  env: printEnvironment,
  runner: joinServer,
  models: listModels,
  types: printTypes,
  requests: showRequests,
  keys: administerKeys,
  webhooks: administerWebhooks,
  help: printHelp,
}

/** Runs one command line, without the program's name, and resolves to its exit code. */
export async function main(
  argv: string[],
  terminal: Terminal = processTerminal(),
): Promise<number> {
  try {
    return await dispatch(argv, terminal)
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.err.write(`${printable(error.message)}\n`)
      return exitCodes.usage
    }
    if (error instanceof CommandError) {
      terminal.err.write(`${printable(error.message)}\n`)
      return exitCodes.failed
    }
    throw error
  }
}

function dispatch(argv: string[], terminal: Terminal): Promise<number> | number {
  const [name, ...rest] = argv
  if (name === undefined || name === "--help" || name === "-h") return printHelp(rest, terminal)
  if (name === "--version" || name === "-v") return printVersion(terminal)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) {
    const near = nearest(name, Object.keys(commands))
    const hint = near === null ? "see `tintype help`" : `did you mean \`tintype ${near}\`?`
    throw new UsageError(`Unknown command ${name}; ${hint}`)
  }
  const ends = rest.indexOf("--")
  const flags = ends === -1 ? rest : rest.slice(0, ends)
  if (flags.includes("--help") || flags.includes("-h")) return printHelp([name], terminal)
  return command(rest, terminal)
}
