import { type ChildProcess, spawn } from "node:child_process"
import { setTimeout as delay } from "node:timers/promises"
import {
  Backoff,
  type RemoteRunnerCommand,
  replaceCode,
  runnerEntryPath,
  secretVariable,
  toArguments,
} from "@tintype/runner/supervision"
import { onInterrupt } from "./interrupts.ts"
import type { Terminal } from "./terminal.ts"
import { exitCodes } from "./terminal.ts"

export interface RunnerSupervision {
  command: RemoteRunnerCommand
  key: string
  terminal: Terminal
}

/** One that lived for so long did not fail at its start; its successor is not made to wait. */
const settledAfterMs = 10_000

/**
 * Keeps one runner process at work: an app can block it, end it or ask for another, and only a new process helps then.
 *
 *     started ──gone, before it ever had a link──▶ ended, with its code
 *        ▲ └────gone, later──▶ (pause) ──┐
 *        └───────────────────────────────┘      a signal: told to finish ──gone──▶ ended; a second one: killed
 */
export class RunnerSupervisor {
  readonly #supervision: RunnerSupervision
  readonly #backoff = new Backoff(200, 10_000, Math.random)
  readonly #stopping = new AbortController()
  #child: ChildProcess | null = null
  #isKilled = false
  #wasLinked = false

  constructor(supervision: RunnerSupervision) {
    this.#supervision = supervision
  }

  /** Resolves to the exit code of the command. */
  async run(): Promise<number> {
    const release = onInterrupt((_, count) => this.#stop(count > 1))
    try {
      return await this.#keep()
    } finally {
      release()
    }
  }

  async #keep(): Promise<number> {
    const { err } = this.#supervision.terminal
    for (;;) {
      const startedAt = performance.now()
      const ended = await this.#start()
      if (this.#isKilled) return exitCodes.interrupted
      if (this.#stopping.signal.aborted || !this.#wasLinked) {
        // Told to end before it could listen to that, it had nothing to finish.
        return ended === 0 || ended === "SIGTERM" ? exitCodes.succeeded : exitCodes.failed
      }
      const how = ended === replaceCode ? "asked to be replaced" : `ended with ${ended}`
      err.write(`The runner ${how}; starting another.\n`)
      if (performance.now() - startedAt > settledAfterMs) this.#backoff.reset()
      const { signal } = this.#stopping
      await delay(this.#backoff.nextMs(), undefined, { signal }).catch(() => {})
      if (this.#stopping.signal.aborted) return exitCodes.succeeded
    }
  }

  /** Resolves to the exit code or the signal that ended the process. */
  async #start(): Promise<number | NodeJS.Signals> {
    const { command, key, terminal } = this.#supervision
    const environment: NodeJS.ProcessEnv = { ...terminal.env, [secretVariable]: key }
    // An app has no business with what opens the server.
    delete environment["TINTYPE_KEY"]
    const flags = process.execArgv.filter((flag) => !flag.startsWith("--inspect"))
    const args = [...flags, runnerEntryPath(), ...toArguments(command)]
    const child = spawn(process.execPath, args, {
      env: environment,
      cwd: terminal.cwd,
      // By the channel it learns when we are gone, however that came.
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    })
    this.#child = child
    child.on("message", () => (this.#wasLinked = true))
    const { promise, resolve, reject } = Promise.withResolvers<number | NodeJS.Signals>()
    child.once("error", reject)
    child.once("exit", (code, signal) => resolve(signal ?? code ?? exitCodes.failed))
    const ended = await promise
    this.#child = null
    return ended
  }

  #stop(isAtOnce: boolean): void {
    this.#isKilled ||= isAtOnce
    this.#stopping.abort()
    this.#child?.kill(isAtOnce ? "SIGKILL" : "SIGTERM")
  }
}
