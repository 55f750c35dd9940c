import { parseFlags } from "../flags.ts"
import { ApiError } from "../queue/api-error.ts"
import { QueueCalls } from "../queue/queue-calls.ts"
import type { Model } from "../queue/wire-reading.ts"
import { contactServer } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { CommandError, exitCodes, printable, UsageError } from "../terminal.ts"

export const modelsFlags = {
  url: { type: "string" },
  json: { type: "boolean" },
} as const

const pagesMax = 1_000

/** `tintype models`: what the server can run. */
export async function listModels(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, modelsFlags)
  if (flags.words.length > 0) {
    throw new UsageError(`tintype models takes flags only, not ${JSON.stringify(flags.words[0])}`)
  }
  const note = (line: string): unknown => terminal.err.write(`${line}\n`)
  const contact = await contactServer(flags.strings["url"], terminal, note)
  try {
    const models = await readModels(new QueueCalls(contact.target))
    const json = flags.booleans.has("json")
    terminal.out.write(json ? `${JSON.stringify(models, null, 2)}\n` : formatModels(models))
    return exitCodes.succeeded
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    throw new CommandError(error.lines.join("\n"), { cause: error })
  } finally {
    await contact.close()
  }
}

async function readModels(calls: QueueCalls): Promise<Model[]> {
  const models: Model[] = []
  const query = new URLSearchParams({ limit: "100" })
  for (let pages = 0; pages < pagesMax; pages++) {
    const page = await calls.models(query)
    models.push(...page.models)
    if (page.cursor === null) break
    query.set("cursor", page.cursor)
  }
  return models
}

/** Id, category and title in columns; the title last, because it is the longest. */
export function formatModels(models: readonly Model[]): string {
  const idWidth = Math.max(0, ...models.map(({ id }) => id.length))
  const categoryWidth = Math.max(0, ...models.map(({ category }) => category.length))
  const lines = models.map(({ id, category, title }) =>
    `${id.padEnd(idWidth)}  ${category.padEnd(categoryWidth)}  ${title}`.trimEnd(),
  )
  return lines.map((line) => `${printable(line)}\n`).join("")
}
