import { type DescribedEndpoint, readEndpoint } from "../declarations/document.ts"
import { writeDeclarations } from "../declarations/write-declarations.ts"
import { parseFlags } from "../flags.ts"
import { ApiError } from "../queue/api-error.ts"
import { QueueCalls } from "../queue/queue-calls.ts"
import { contactServer } from "../server-contact.ts"
import { CommandError, exitCodes, type Terminal, UsageError } from "../terminal.ts"

export const typesFlags = {
  url: { type: "string" },
  endpoint: { type: "string", multiple: true },
} as const

const pagesMax = 1_000
/** The server takes so many ids in one call. */
const endpointsMax = 50

/** `tintype types > tintype.d.ts`: what the server's endpoints take and give, for the compiler. */
export async function printTypes(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, typesFlags)
  if (flags.words.length > 0) {
    throw new UsageError(`tintype types takes flags only, not ${JSON.stringify(flags.words[0])}`)
  }
  const endpoints = flags.lists["endpoint"] ?? []
  if (endpoints.length > endpointsMax) {
    throw new UsageError(
      `--endpoint may be given ${endpointsMax} times; without it all are written`,
    )
  }
  const note = (line: string): unknown => terminal.err.write(`${line}\n`)
  const contact = await contactServer(flags.strings["url"], terminal, note)
  try {
    const described = await readEndpoints(new QueueCalls(contact.target), endpoints)
    terminal.out.write(writeDeclarations(described))
    return exitCodes.succeeded
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    throw new CommandError(error.lines.join("\n"), { cause: error })
  } finally {
    await contact.close()
  }
}

async function readEndpoints(calls: QueueCalls, ids: string[]): Promise<DescribedEndpoint[]> {
  const found: DescribedEndpoint[] = []
  const query = new URLSearchParams({ limit: "100", expand: "openapi-3.0" })
  for (const id of ids) query.append("endpoint_id", id)
  for (let pages = 0; pages < pagesMax; pages++) {
    const { entries, cursor } = await calls.models(query)
    found.push(...entries.map(readEndpoint))
    if (cursor === null) break
    query.set("cursor", cursor)
  }
  return found
}
