import { type ChildProcess, spawn } from "node:child_process"
import { constants } from "node:os"
import { onInterrupt } from "../interrupts.ts"

export interface Program {
  command: string
  args: string[]
  env: Record<string, string | undefined>
  cwd: string
}

/** What a shell answers for a command that is not there, or is no program. */
const exitCodeNotFound = 127
const exitCodeNotExecutable = 126

/**
 * Runs a program in our place: its input and output are ours, signals go on to it. Resolves to the exit code that a shell
 * would give it, 128 + n after signal n. `speak` gets a process of ours that can be spoken to.
 */
export async function runProgram(
  { command, args, env, cwd }: Program,
  say: (line: string) => void,
  speak?: (child: ChildProcess) => void,
): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const channel = speak === undefined ? [] : (["ipc"] as const)
  const child = spawn(command, args, {
    env,
    cwd,
    stdio: ["inherit", "inherit", "inherit", ...channel],
  })
  const release = onInterrupt((signal) => {
    // A terminal tells all that it runs of Ctrl-C itself; twice would be once too often.
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
  })
  child.once("error", (error: NodeJS.ErrnoException) => {
    say(`${command} cannot be run: ${error.code ?? error.message}`)
    resolve(error.code === "ENOENT" ? exitCodeNotFound : exitCodeNotExecutable)
  })
  child.once("exit", (code, signal) => resolve(code ?? exitCodeOf(signal)))
  speak?.(child)
  try {
    return await promise
  } finally {
    release()
  }
}

export function exitCodeOf(signal: NodeJS.Signals | null): number {
  return signal === null ? 1 : 128 + constants.signals[signal]
}
