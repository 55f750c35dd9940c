import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { resolve } from "node:path"
import { createInterface } from "node:readline"

const bin = resolve(import.meta.dirname, "../packages/cli/bin/tintype.js")

/** A real `tintype runner` of the built output. */
export interface RunnerProcess {
  child: ChildProcess
  lines: string[]
  /** Resolves when a line, past or to come, holds the text; rejects when the process ends before. */
  said(text: string): Promise<void>
  /** Resolves to the exit code, null after a signal, when all that it printed was read. */
  closed: Promise<number | null>
}

export function startRunnerProcess(args: string[], env: Record<string, string>): RunnerProcess {
  const child = spawn(process.execPath, [bin, "runner", ...args], {
    env: { ...process.env, TINTYPE_URL: "", TINTYPE_KEY: "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  const lines: string[] = []
  const listeners = new Set<() => void>()
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on("line", (line) => {
      lines.push(line)
      for (const listener of listeners) listener()
    })
  }
  const closed = once(child, "close").then(([code]) => code as number | null)
  const said = (text: string) =>
    new Promise<void>((found, reject) => {
      const look = () => {
        if (!lines.some((line) => line.includes(text))) return
        listeners.delete(look)
        found()
      }
      listeners.add(look)
      void closed.then(() => reject(new Error(`it ended without ${text}:\n${lines.join("\n")}`)))
      look()
    })
  return { child, lines, said, closed }
}
