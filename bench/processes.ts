import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

export interface ProcessOptions {
  args: string[]
  cwd?: string
  env?: Record<string, string>
  /** The user to run as, where it must be another one. */
  user?: { uid: number; gid: number } | null
  /** What it prints goes here and nobody reads it along; else it is read for `untilLine`. */
  logFile?: string
}

const readyWithinMs = 30_000
const endWithinMs = 15_000
const askEveryMs = 5
/** Lines kept to be told when a process fails. */
const linesMax = 50

/** A server that the bench started. */
export class OwnProcess {
  readonly child: ChildProcess
  readonly #command: string
  readonly #lines: string[] = []
  readonly #listeners = new Set<(line: string) => void>()
  readonly #closed: Promise<unknown>

  constructor(command: string, { args, cwd, env, user, logFile }: ProcessOptions) {
    this.#command = [command, ...args].join(" ")
    const output = logFile === undefined ? "pipe" : openSync(logFile, "a")
    this.child = spawn(command, args, {
      stdio: ["ignore", output, output],
      // A group of its own: Ctrl-C is for the bench, which ends the others in order.
      detached: true,
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
      ...user,
    })
    if (typeof output === "number") closeSync(output)
    this.#closed = once(this.child, "close")
    this.#closed.catch(() => {})
    for (const stream of [this.child.stdout, this.child.stderr]) {
      let rest = ""
      stream?.setEncoding("utf8").on("data", (text: string) => {
        const lines = (rest + text).split("\n")
        rest = lines.pop() ?? ""
        for (const line of lines) this.#hear(line)
      })
    }
  }

  get pid(): number {
    const { pid } = this.child
    if (pid === undefined) throw new Error(`${this.#command} could not be started`)
    return pid
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** The first line, from now on or before, that matches. */
  async untilLine(pattern: RegExp, withinMs = readyWithinMs): Promise<RegExpExecArray> {
    const found = Promise.withResolvers<RegExpExecArray>()
    const look = (line: string) => {
      const match = pattern.exec(line)
      if (match !== null) found.resolve(match)
    }
    this.#lines.forEach(look)
    this.#listeners.add(look)
    const timer = setTimeout(() => found.reject(this.#failure("is not ready")), withinMs)
    try {
      return await Promise.race([
        found.promise,
        this.#closed.then(() => Promise.reject(this.#failure("ended"))),
      ])
    } finally {
      clearTimeout(timer)
      this.#listeners.delete(look)
    }
  }

  /** Resolves when it is gone; one that does not go is killed. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.ended) return
    this.child.kill(signal)
    const timer = setTimeout(() => this.child.kill("SIGKILL"), endWithinMs)
    await this.#closed
    clearTimeout(timer)
  }

  #hear(line: string): void {
    this.#lines.push(line)
    if (this.#lines.length > linesMax) this.#lines.shift()
    for (const listener of [...this.#listeners]) listener(line)
  }

  #failure(what: string): Error {
    return new Error(`${this.#command} ${what}:\n${this.#lines.join("\n")}`)
  }
}

/** Owns what the bench started, so that nothing of it outlives the bench. */
export class Processes {
  readonly #started: OwnProcess[] = []

  start(command: string, options: ProcessOptions): OwnProcess {
    const started = new OwnProcess(command, options)
    this.#started.push(started)
    return started
  }

  /** Kills what is left, and what that left behind: whatever names the bench's folder in its command line. */
  async endAll(folder: string): Promise<void> {
    const own = this.#started.filter(({ ended }) => !ended).map(({ child }) => child.pid)
    const left = listProcesses().filter(({ command }) => command.includes(folder))
    for (const pid of new Set([...own, ...left.map(({ pid: found }) => found)])) {
      if (pid !== undefined && pid !== process.pid) killQuietly(pid)
    }
    await Promise.all(this.#started.map((started) => started.end("SIGKILL")))
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It ended meanwhile.
  }
}

interface ListedProcess {
  pid: number
  parent: number
  command: string
  /** Of it and of its children that have ended, in clock ticks. */
  cpuTicks: number
}

/** Empty where there is no /proc. */
function listProcesses(): ListedProcess[] {
  if (process.platform !== "linux") return []
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8")
        const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ")
        // The name, in brackets, may hold anything; the fields after it are counted from 3 on in proc(5).
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        const parent = Number(fields[1])
        const cpuTicks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
        return [{ pid: Number(name), parent, command, cpuTicks }]
      } catch {
        return []
      }
    })
}

/** These processes and all below them; empty where it cannot be told. */
function treeOf(roots: number[]): ListedProcess[] {
  const all = listProcesses()
  const wanted = new Set(roots)
  // A child may be listed before its parent, so this is done until nothing is added.
  for (let before = -1; before !== wanted.size;) {
    before = wanted.size
    for (const { pid, parent } of all) if (wanted.has(parent)) wanted.add(pid)
  }
  return all.filter(({ pid }) => wanted.has(pid))
}

/** Linux counts in hundredths of a second wherever Node runs. */
const msPerTick = 10

/** Processor time of these processes and all below them; null where it cannot be told. */
export function cpuMsOf(roots: number[]): number | null {
  const tree = treeOf(roots)
  if (tree.length === 0) return null
  return tree.reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) * msPerTick
}

/** Resident memory of these processes and all below them; NaN where it cannot be told. */
export function residentBytesOf(roots: number[]): number {
  const tree = treeOf(roots)
  if (tree.length === 0) return Number.NaN
  const sizes = tree.map(({ pid }) => {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
    return Number(kilobytes ?? 0) * 1_024
  })
  return sizes.reduce((sum, bytes) => sum + bytes, 0)
}

/** A port that nobody listens on; for servers that cannot choose one themselves. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  if (address === null || typeof address === "string") throw new Error("no port was given")
  return address.port
}

/** Asks until the URL answers 200. */
export async function untilAnswers(url: string, asked: OwnProcess): Promise<void> {
  const end = performance.now() + readyWithinMs
  while (performance.now() < end && !asked.ended) {
    const answer = await fetch(url).catch(() => null)
    await answer?.body?.cancel()
    if (answer?.status === 200) return
    await sleep(askEveryMs)
  }
  throw new Error(`${url} is not answered with 200 within ${readyWithinMs} ms`)
}
