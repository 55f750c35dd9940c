import { randomBytes } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { GuardProxy } from "../doors/guard-proxy.ts"
import { parseAllowed } from "../doors/host-rules.ts"
import { insideProxyPort, runIsolated } from "../doors/isolation.ts"
import { programEnvironment } from "../doors/program-environment.ts"
import { exitCodeOf, type Program, runProgram } from "../doors/program.ts"
import { Refusals } from "../doors/refusals.ts"
import { serveForCommand } from "../doors/served-command.ts"
import { findTlsDoor, type TlsDoor, trustBundle } from "../doors/tls-door.ts"
import { parseFlags, type ParsedFlags } from "../flags.ts"
import { onInterrupt } from "../interrupts.ts"
import { type Contact, contactServer, isLoopback } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { CommandError, exitCodes, printable, UsageError } from "../terminal.ts"

export const execFlags = {
  allow: { type: "string", multiple: true },
  serve: { type: "boolean" },
  isolate: { type: "boolean" },
  url: { type: "string" },
} as const

/** A socket's address holds 108 bytes. */
const folderLengthMax = 70

interface Execution {
  flags: ParsedFlags
  allowed: string[]
  command: string
  args: string[]
  terminal: Terminal
  say: (line: string) => void
}

/** `tintype exec -- COMMAND`: a program written for the hosted service, whose calls come to Tintype instead. */
export async function exec(argv: string[], terminal: Terminal): Promise<number> {
  const say = (line: string): unknown =>
    terminal.err.write(`${printable(`tintype exec: ${line}`)}\n`)
  const execution: Execution = { ...readArguments(argv), terminal, say }
  let interrupted: NodeJS.Signals | null = null
  // Whatever is started is taken down again, also when the signal comes before there is a program to pass it on to.
  const release = onInterrupt((signal) => (interrupted ??= signal))
  try {
    await using undo = new AsyncDisposableStack()
    const folder = await mkdtemp(join(temporaryFolder(), "tintype-exec-"))
    undo.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
    const contact = await findServer(execution, () => interrupted !== null)
    undo.defer(() => contact.close())
    const door = await findTlsDoor(contact.target)
    if (interrupted !== null) return exitCodeOf(interrupted)
    const code = await run(execution, contact, door, folder)
    const isFailure = code !== exitCodes.succeeded && code !== exitCodes.refused
    if (isFailure && interrupted === null) await contact.keepLog?.()
    return code
  } finally {
    release()
  }
}

/** The system's own, unless its name is too long for the sockets in it. */
function temporaryFolder(): string {
  return Buffer.byteLength(tmpdir()) <= folderLengthMax ? tmpdir() : "/tmp"
}

function readArguments(argv: string[]): Pick<Execution, "flags" | "allowed" | "command" | "args"> {
  const ends = argv.indexOf("--")
  const flags = parseFlags(ends === -1 ? argv : argv.slice(0, ends), execFlags)
  const [command, ...args] = ends === -1 ? [] : argv.slice(ends + 1)
  if (command === undefined || flags.words.length > 0) {
    throw new UsageError("tintype exec takes the program after --: tintype exec -- node app.js")
  }
  if (flags.booleans.has("serve") && flags.strings["url"] !== undefined) {
    throw new UsageError("--serve starts a server of its own, so --url makes no sense with it")
  }
  return { flags, allowed: (flags.lists["allow"] ?? []).map(parseAllowed), command, args }
}

async function findServer(
  { flags, terminal, say }: Execution,
  isInterrupted: () => boolean,
): Promise<Contact & { keepLog?: () => Promise<void> }> {
  if (flags.booleans.has("serve")) return await serveForCommand(terminal, say, isInterrupted)
  return await contactServer(flags.strings["url"], terminal, say, (tried) => {
    const advice =
      "start one (npm start, or tintype serve), or let --serve start one for this command"
    throw new CommandError(`No server answers at ${tried}: ${advice}`)
  })
}

async function run(
  { flags, allowed, command, args, terminal, say }: Execution,
  { target: { url } }: Contact,
  door: TlsDoor,
  folder: string,
): Promise<number> {
  const isIsolated = flags.booleans.has("isolate")
  const server = new URL(url)
  const serverHost = server.hostname.replace(/^\[|\]$/g, "")
  const credentials = `tintype:${randomBytes(16).toString("hex")}`
  const refusals = new Refusals(say)
  const rules = { allowed, serverHost, allowsLoopback: !isIsolated }
  const proxy = new GuardProxy({ rules, tlsDoor: door, credentials, refusals })
  const bundlePath = join(folder, "ca.pem")
  await writeFile(bundlePath, trustBundle(door.ca))
  const port = isIsolated ? insideProxyPort : await proxy.listen()
  const proxyUrl = `http://${credentials}@127.0.0.1:${port}`
  const doors = { proxyUrl, bundlePath, key: door.key, url }
  const env = programEnvironment(terminal.env, doors)
  const program: Program = { command, args, env, cwd: terminal.cwd }
  try {
    const serverPort = isLoopback(server.hostname) ? Number(server.port || 80) : null
    const onProxied: GuardProxy["accept"] = (socket, from) => proxy.accept(socket, from)
    const code = isIsolated
      ? await runIsolated(program, { folder, tlsDoor: door, serverPort, onProxied }, say)
      : await runProgram(program, say)
    if (!refusals.any) return code
    say(`exit code ${exitCodes.refused}, as hosts were refused (the program's own was ${code}):`)
    for (const line of refusals.summary()) say(line)
    return exitCodes.refused
  } finally {
    await proxy.close()
  }
}
