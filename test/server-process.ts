import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { createInterface } from "node:readline"

const bin = resolve(import.meta.dirname, "../packages/cli/bin/tintype.js")

/** A real server of the built output, in its own process, on a free port. */
export interface ServerProcess {
  url: string
  /** Milliseconds from spawn to `listening`. */
  listeningMs: number
  child: ChildProcess
  data: string
  /** Every line it logged, parsed where it was JSON. */
  log: Record<string, unknown>[]
  stderr: string[]
  /** Resolves with the first log entry that satisfies the test, past ones included. */
  logged(test: (entry: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
  kill(signal: NodeJS.Signals): Promise<number | null>
}

export interface ServerOptions {
  data?: string
  env?: Record<string, string>
  args?: string[]
  cwd?: string
  /** With its second port, for which each new data folder costs a certificate; most tests need none. */
  tls?: boolean
  /** Written as `tintype.config.ts` into the data folder, which is then the working folder. */
  config?: object
  /** The command's script, where it is not this checkout's. */
  bin?: string
  /** A program and its flags that runs the server: a tracer, for instance. It must keep the pid of what it runs. */
  wrapper?: string[]
}

export async function makeDataFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), "tintype-test-"))
}

export async function removeDataFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5 })
}

/** Starts `tintype serve`; resolves when it listens, rejects with its output when it exits before. */
export async function startServerProcess(options: ServerOptions = {}): Promise<ServerProcess> {
  const data = options.data ?? (await makeDataFolder())
  return await spawnServerProcess({ ...options, data }).listening
}

/** A server from the moment it was spawned, for those who kill it before it listens. */
export interface SpawnedServer {
  child: ChildProcess
  /** Past and future entries, as in `ServerProcess`. */
  log: Record<string, unknown>[]
  stderr: string[]
  listening: Promise<ServerProcess>
  /** The exit code, when the process is gone and all that it printed was read; null after a signal. */
  closed: Promise<number | null>
}

/** Starts `tintype serve` and does not wait. */
export function spawnServerProcess(options: ServerOptions & { data: string }): SpawnedServer {
  const { data } = options
  if (options.config !== undefined) {
    const text = `export default ${JSON.stringify(options.config)}\n`
    writeFileSync(join(data, "tintype.config.ts"), text)
  }
  const startedAt = performance.now()
  const own = [options.bin ?? bin, "serve", "--port", "0", "--data", data, "--log", "json"]
  const [command, ...args] = [...(options.wrapper ?? []), process.execPath, ...own]
  const child = spawn(command!, [...args, ...(options.args ?? [])], {
    // A server starts as it does for users, without what the tests have compiled before.
    env: {
      ...process.env,
      NODE_DISABLE_COMPILE_CACHE: "1",
      TINTYPE_PACE: "0",
      ...(options.tls === true ? {} : { TINTYPE_TLS_PORT: "off" }),
      ...options.env,
    },
    cwd: options.cwd ?? (options.config === undefined ? process.cwd() : data),
    stdio: ["ignore", "pipe", "pipe"],
  })
  const exited = once(child, "exit").then(([code]) => code as number | null)
  const closed = once(child, "close").then(([code]) => code as number | null)
  const log: Record<string, unknown>[] = []
  const stderr: string[] = []
  const listeners = new Set<(entry: Record<string, unknown>) => void>()
  createInterface({ input: child.stdout }).on("line", (line) => {
    const entry = parseLine(line)
    log.push(entry)
    for (const listener of listeners) listener(entry)
  })
  createInterface({ input: child.stderr }).on("line", (line) => stderr.push(line))
  const logged: ServerProcess["logged"] = (test) => {
    const past = log.find(test)
    if (past !== undefined) return Promise.resolve(past)
    return new Promise((found) => {
      const listener = (entry: Record<string, unknown>) => {
        if (!test(entry)) return
        listeners.delete(listener)
        found(entry)
      }
      listeners.add(listener)
    })
  }
  const kill: ServerProcess["kill"] = async (signal) => {
    child.kill(signal)
    return await exited
  }
  const listening = Promise.race([
    logged((entry) => entry["event"] === "listening"),
    closed.then((code) => {
      throw new Error(`server exited with ${code}:\n${stderr.join("\n")}`)
    }),
  ]).then((entry) => {
    const listeningMs = performance.now() - startedAt
    return { url: String(entry["url"]), listeningMs, child, data, log, stderr, logged, kill }
  })
  // Whoever kills it before it listens does not wait for it.
  listening.catch(() => {})
  return { child, log, stderr, listening, closed }
}

function parseLine(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return { line }
  }
}

/** Resolves when every built-in app has a runner. */
export async function untilReady(url: string, deadlineMs = 15_000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (performance.now() < end) {
    const answer = await fetch(`${url}/health?ready`).catch(() => null)
    if (answer?.status === 200) return
    await new Promise((next) => setTimeout(next, 20))
  }
  throw new Error(`no runner hosts every app at ${url} after ${deadlineMs} ms`)
}
