import { type ChildProcess, spawn } from "node:child_process"
import { open, rename, rm, stat } from "node:fs/promises"
import { setTimeout as delay } from "node:timers/promises"
import {
  Backoff,
  type ProcessIdentity,
  type RunnerCommand,
  isAlive,
  processStartTime,
  readIdentity,
  runnerEntryPath,
  runnerLimits,
  secretVariable,
  signalProcess,
  toArguments,
} from "@tintype/runner/supervision"

export interface LocalRunnerOptions {
  command: RunnerCommand
  /** Of the link. */
  secret: string
  /** What the runner prints is appended here. */
  logFile: string
  /** How long a living runner of our build may take to say hello. */
  adoptMs: number
  /** The runner process with this pid is gone; called once for each, before another is started. */
  onExit: (pid: number) => void
  log: (entry: Record<string, unknown>) => void
  /** Variables for the runner beside those of this process. */
  environment?: Record<string, string>
  /** Script and Node flags to run; the runner's own by default. */
  entry?: { path: string; nodeFlags: string[] }
}

interface Current {
  pid: number
  startedAt: string
  sinceMs: number
}

const killAfterMs = 2_000
const goneEveryMs = 50
const watchEveryMs = 500
/** One that lived for so long did not fail at start; its successor is not made to wait. */
const settledAfterMs = 10_000

/**
 * Keeps exactly one local runner process alive.
 *
 *     (none) ──start──▶ adopting ──hello──▶ watched ──gone──▶ (none), started again after a backoff
 *                           └──stranger, silent, none──▶ ended ──▶ spawned ──▶ watched
 *
 * The identity file tells who the runner is, across our own crashes. Invariant: nothing is spawned before the process
 * that the file names is seen to be gone; and a process that finds the file taken exits before it hosts anything.
 */
export class LocalRunner {
  readonly #options: LocalRunnerOptions
  readonly #backoff = new Backoff(200, 10_000, Math.random)
  #current: Current | null = null
  #helloPid: number | null = null
  #onHello: (() => void) | null = null
  #work: Promise<void> = Promise.resolve()
  #restart: NodeJS.Timeout | null = null
  #watch: NodeJS.Timeout | null = null
  #stopping = false

  constructor(options: LocalRunnerOptions) {
    this.#options = options
  }

  /** The pid of the runner that is watched; null while there is none. */
  get pid(): number | null {
    return this.#current?.pid ?? null
  }

  /**
   * Adopts the runner that an earlier life of the server left, or starts one; resolves when either is done. The
   * link's socket must be listening by then, as adoption waits for a hello. Rejects when no process can be started;
   * it is tried again meanwhile.
   */
  async start(): Promise<void> {
    this.#stopping = false
    await this.#adoptOrSpawn()
  }

  /** A session said hello; the dispatcher tells with which pid. */
  onHello(pid: number): void {
    this.#helloPid = pid
    this.#onHello?.()
  }

  /**
   * Ends the runner that has this pid, at once: it is blocked or stopped, and nothing that it holds counts any more. Its
   * successor is started when it is gone.
   */
  kill(pid: number): void {
    const current = this.#current
    if (current?.pid !== pid) return
    this.#options.log({ event: "runner_killed", pid, why: "it was not heard from" })
    void signalProcess(current, "SIGKILL")
  }

  /**
   * Waits up to `graceMs` for the runner to be gone, as it was sent `exit`, then ends it, and removes the identity
   * file. Nothing is started any more.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    if (this.#restart !== null) clearTimeout(this.#restart)
    this.#onHello?.()
    await this.#work.catch(() => {})
    const current = this.#current
    if (current !== null && !(await this.#untilGone(current, graceMs))) await this.#end(current)
    this.#unwatch()
    this.#current = null
    const left = await this.#find()
    if (left !== null) await this.#endAndForget(left)
  }

  /** One at a time, whoever asks. */
  #adoptOrSpawn(): Promise<void> {
    const work = this.#adoptOrSpawnAfter(this.#work)
    this.#work = work
    work.catch((error: unknown) => {
      this.#options.log({ event: "runner_start_failed", error: String(error) })
      this.#startAgain()
    })
    return work
  }

  async #adoptOrSpawnAfter(before: Promise<void>): Promise<void> {
    await before.catch(() => {})
    if (this.#stopping || this.#current !== null) return
    if (!(await this.#adopt()) && !this.#stopping) await this.#spawn()
  }

  async #adopt(): Promise<boolean> {
    const { command, log } = this.#options
    const found = await this.#find()
    if (found === null) return false
    const isOurs = found.build === command.build && found.socket === command.socket
    if (isOurs && (await this.#hello(found.pid))) {
      this.#watchAdopted(found)
      log({ event: "runner_adopted", pid: found.pid })
      return true
    }
    log({ event: "runner_ended", pid: found.pid, why: isOurs ? "silent" : "another build" })
    await this.#endAndForget(found)
    return false
  }

  /** The living process that the identity file names. A file that names none is removed. */
  async #find(): Promise<ProcessIdentity | null> {
    const { command, log } = this.#options
    try {
      const found = await readIdentity(command.identity)
      // Where no file was read none is removed: a runner that we started in an earlier life may just be writing it.
      if (found === null || (await isAlive(found))) return found
    } catch (error) {
      log({ event: "runner_identity_unreadable", error: String(error) })
    }
    await this.#forget()
    return null
  }

  /** A file that stays names a process that is gone: whoever reads it next finds that out, and tries again. */
  async #forget(): Promise<void> {
    const { command, log } = this.#options
    await rm(command.identity, { force: true }).catch((error: unknown) => {
      log({ event: "runner_identity_kept", error: String(error) })
    })
  }

  async #endAndForget(identity: ProcessIdentity): Promise<void> {
    await this.#end(identity)
    await this.#forget()
    this.#options.onExit(identity.pid)
  }

  async #hello(pid: number): Promise<boolean> {
    if (this.#helloPid !== pid && !this.#stopping) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, this.#options.adoptMs)
      this.#onHello = () => {
        if (this.#helloPid === pid || this.#stopping) resolve()
      }
      await promise
      clearTimeout(timer)
      this.#onHello = null
    }
    return this.#helloPid === pid
  }

  #watchAdopted(identity: { pid: number; startedAt: string }): void {
    const { pid, startedAt } = identity
    this.#current = { pid, startedAt, sinceMs: performance.now() }
    const look = async () => {
      if (!(await isAlive(identity))) this.#gone(pid, "it was adopted")
    }
    this.#watch = setInterval(() => void look(), watchEveryMs)
    this.#watch.unref()
  }

  async #spawn(): Promise<void> {
    const { command, secret, logFile, entry, log } = this.#options
    const extra = this.#options.environment
    await rotate(logFile)
    const output = await open(logFile, "a", 0o600)
    const environment: NodeJS.ProcessEnv = { ...process.env, ...extra, [secretVariable]: secret }
    // An app has no business with the key that administers the server.
    delete environment["TINTYPE_KEY"]
    const flags = entry?.nodeFlags ?? process.execArgv.filter((flag) => !isInspector(flag))
    const path = entry?.path ?? runnerEntryPath()
    let child: ChildProcess
    try {
      child = spawn(process.execPath, [...flags, path, ...toArguments(command)], {
        detached: true,
        stdio: ["ignore", output.fd, output.fd],
        env: environment,
      })
      await spawned(child)
    } finally {
      await output.close()
    }
    const pid = child.pid!
    child.unref()
    const current: Current = { pid, startedAt: "", sinceMs: performance.now() }
    this.#current = current
    log({ event: "runner_started", pid })
    child.once("exit", (code, signal) => this.#gone(pid, signal ?? `code ${code}`))
    // It may have ended while we waited; its exit was told to nobody then.
    if (child.exitCode !== null || child.signalCode !== null) this.#gone(pid, "at once")
    else current.startedAt = (await processStartTime(pid)) ?? ""
  }

  #gone(pid: number, how: string): void {
    const current = this.#current
    if (current?.pid !== pid) return
    this.#current = null
    this.#unwatch()
    if (this.#helloPid === pid) this.#helloPid = null
    this.#options.log({ event: "runner_gone", pid, how })
    this.#options.onExit(pid)
    if (performance.now() - current.sinceMs > settledAfterMs) this.#backoff.reset()
    this.#startAgain()
  }

  #startAgain(): void {
    if (this.#stopping) return
    if (this.#restart !== null) clearTimeout(this.#restart)
    this.#restart = setTimeout(() => {
      this.#restart = null
      // Its failure is logged, and tried again, where it happens.
      this.#adoptOrSpawn().catch(() => {})
    }, this.#backoff.nextMs())
    this.#restart.unref()
  }

  #unwatch(): void {
    if (this.#watch !== null) clearInterval(this.#watch)
    this.#watch = null
  }

  /** Ends this very process and waits until it is gone, however long that takes: there may never be two. */
  async #end(identity: { pid: number; startedAt: string }): Promise<void> {
    await signalProcess(identity, "SIGTERM")
    if (await this.#untilGone(identity, killAfterMs)) return
    await signalProcess(identity, "SIGKILL")
    while (!(await this.#untilGone(identity, killAfterMs))) {
      this.#options.log({ event: "runner_will_not_end", pid: identity.pid })
    }
  }

  async #untilGone(
    identity: { pid: number; startedAt: string },
    timeoutMs: number,
  ): Promise<boolean> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      if (!(await isAlive(identity))) return true
      if (performance.now() >= deadline) return false
      await delay(goneEveryMs)
    }
  }
}

function isInspector(flag: string): boolean {
  return flag.startsWith("--inspect")
}

function spawned(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("spawn", resolve)
    child.once("error", reject)
  })
}

async function rotate(logFile: string): Promise<void> {
  const size = await stat(logFile).then(
    (info) => info.size,
    () => 0,
  )
  if (size > runnerLimits.logFileBytesMax) await rename(logFile, `${logFile}.1`)
}
