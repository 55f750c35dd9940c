import { parseFlags } from "../flags.ts"
import { onInterrupt } from "../interrupts.ts"
import type { Terminal } from "../terminal.ts"
import { exitCodes, UsageError } from "../terminal.ts"

/** One flag for each setting of the server; what they mean and allow is said in `settings/config-load.ts`. */
export const serveFlags = {
  port: { type: "string" },
  "tls-port": { type: "string" },
  host: { type: "string" },
  data: { type: "string" },
  log: { type: "string" },
  "public-url": { type: "string" },
  "trust-proxy": { type: "string" },
  "allowed-origins": { type: "string" },
  pace: { type: "string" },
  apps: { type: "string" },
  "runner-slots": { type: "string" },
  "allow-private-targets": { type: "string" },
} as const

/** `tintype serve`: the server, until a signal ends it. */
export async function serve(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, serveFlags)
  if (flags.words.length > 0) {
    throw new UsageError(`tintype serve takes flags only, not ${JSON.stringify(flags.words[0])}`)
  }
  const { ConfigError, loadConfig, StartError, startServer } = await import("@tintype/server")
  try {
    const config = await loadConfig({ flags: flags.strings, env: terminal.env, cwd: terminal.cwd })
    const server = await startServer(config, { out: terminal.out, err: terminal.err })
    // The first signal lets running attempts finish, for at most drainMs; the second one ends the wait.
    const release = onInterrupt((_, count) => void server.stop({ now: count > 1 }))
    // For backups, and for those who want the database file to hold everything now.
    const checkpoint = (): void => server.checkpoint()
    process.on("SIGUSR2", checkpoint)
    // Said once signals are heard: whoever waits for this line may send one.
    terminal.out.write(
      config.log === "json"
        ? `${JSON.stringify({ event: "listening", url: server.url, tlsUrl: server.tlsUrl })}\n`
        : greet(server.url, !server.open),
    )
    const code = await server.closed
    process.off("SIGUSR2", checkpoint)
    release()
    return code
  } catch (error) {
    // What keeps a server from starting is for the person to change; anything else is a bug and keeps its stack.
    if (!(error instanceof ConfigError || error instanceof StartError)) throw error
    terminal.err.write(`${error.message}\n`)
    return exitCodes.usage
  }
}

/** What a newcomer needs: where it is, how to call it, and whether a key is needed. */
export function greet(url: string, hasKey: boolean): string {
  const key = hasKey
    ? "Calls need a key: Authorization: Key <id:secret>, one of `tintype keys` or that of TINTYPE_KEY."
    : "No key is needed: only this machine can call it."
  const header = hasKey ? ` \\\n    -H "Authorization: Key $TINTYPE_KEY"` : ""
  const words = "a red fish in the sea"
  const prompt = JSON.stringify({ prompt: words })
  return `
Tintype is listening on ${url}
${key}

  npx tintype run tintype/miniature prompt="${words}"

  curl ${url}/run/tintype/miniature${header} \\
    -H "Content-Type: application/json" -d '${prompt}'

  JavaScript, with the official client:
  fal.config({ proxyUrl: { url: "${url}/api/fal/proxy", when: "always" } })
  the whole snippet is in README.md

  Any program written for the hosted service, as it is:
  npx tintype exec -- node app.js

Ctrl-C ends it.

`
}
