import { CommandError, UsageError } from "./terminal.ts"
import type { Output, Terminal } from "./terminal.ts"
import type { QueueTarget } from "./queue/queue-calls.ts"

export const defaultUrl = "http://127.0.0.1:3250"
const healthTimeoutMs = 3_000

export interface Contact {
  target: QueueTarget
  /** Ends the temporary server, when there is one. */
  close(): Promise<void>
}

/**
 * The server that a command talks to: `--url`, `TINTYPE_URL`, the default. When none was named and none runs at the
 * default, one of its own is started for the life of the command, with its data in memory; `note` hears of it. A
 * command to which such a server is of no use says with `otherwise` what to do instead.
 */
export async function contactServer(
  url: string | undefined,
  terminal: Terminal,
  note: (line: string) => void,
  otherwise?: (tried: string) => Promise<Contact>,
): Promise<Contact> {
  const key = terminal.env["TINTYPE_KEY"] || null
  const named = url ?? (terminal.env["TINTYPE_URL"] || null)
  const target = { url: readUrl(named ?? defaultUrl), key }
  if (await answers(target.url)) return { target, close: () => Promise.resolve() }
  // Who names a server means that one: another, with other data and apps, would only look like success.
  if (named !== null) throw new CommandError(`No server answers at ${target.url}`)
  if (otherwise !== undefined) return await otherwise(target.url)
  note(`No server at ${target.url}: using a temporary one for this command`)
  return await startTemporary(terminal)
}

/** The address of a server as others are appended to it; `UsageError` when it is none. */
export function readUrl(text: string): string {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(`${JSON.stringify(text)} is not an http:// or https:// address`)
  }
  url.search = ""
  url.hash = ""
  return url.href.replace(/\/+$/, "")
}

/**
 * Any HTTP answer counts: whoever is there will say what is wrong with the call. One that is too busy to answer
 * is there as well.
 */
async function answers(url: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(healthTimeoutMs)
    const response = await fetch(`${url}/health`, { signal })
    await response.body?.cancel()
    return true
  } catch (error) {
    return (
      error instanceof Error && error.name === "TimeoutError" && isLoopback(new URL(url).hostname)
    )
  }
}

/**
 * A server on a free port for the life of a command; `given` are settings by the name of their flag. What goes wrong is said
 * on the terminal, unless all that it logs has a place of its own.
 */
export async function startTemporary(
  terminal: Terminal,
  given: Record<string, string> = {},
  log?: Output,
): Promise<Contact> {
  // Loaded only here: a command that finds a server does not need one.
  const { ConfigError, loadConfig, StartError, startServer } = await import("@tintype/server")
  const flags = {
    port: "0",
    "tls-port": "off",
    host: "127.0.0.1",
    data: ":memory:",
    log: "text",
    ...given,
  }
  try {
    const env = withoutAddress(terminal.env)
    const config = await loadConfig({ flags, env, cwd: terminal.cwd })
    const streams = { out: log ?? { write: () => true }, err: log ?? terminal.err }
    const server = await startServer(config, streams)
    const close = async (): Promise<void> => {
      await server.stop({ now: true })
      await server.closed
    }
    return { target: { url: server.url, key: config.key }, close }
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof StartError)) throw error
    throw new CommandError(error.message, { cause: error })
  }
}

/** A public URL belongs to the server that is not running; the temporary one is called by its own address. */
function withoutAddress(env: Terminal["env"]): Terminal["env"] {
  return { ...env, TINTYPE_PUBLIC_URL: undefined }
}

export function isLoopback(hostname: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(hostname)
}
