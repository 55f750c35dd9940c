import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { resolve } from "node:path"

const bin = resolve(import.meta.dirname, "../packages/cli/bin/tintype.js")

export interface CommandOptions {
  env?: Record<string, string | undefined>
  cwd?: string
}

export interface CommandProcess {
  child: ChildProcess
  /** Resolves when the standard output holds this text. */
  printed(text: string): Promise<void>
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; out: string; err: string }>
}

/** A command of the built output in a process of its own, as a user runs it. */
export function spawnTintype(
  args: string[],
  { env = {}, cwd }: CommandOptions = {},
): CommandProcess {
  const child = spawn(process.execPath, [bin, ...args], {
    env: { ...process.env, TINTYPE_PACE: "0", ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdio: ["ignore", "pipe", "pipe"],
  })
  const texts = { out: "", err: "" }
  const waiting = new Map<string, () => void>()
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    texts.out += text
    for (const [wanted, found] of waiting) if (texts.out.includes(wanted)) found()
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => (texts.err += text))
  const ended = once(child, "close").then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    ...texts,
  }))
  const printed = (text: string): Promise<void> => {
    if (texts.out.includes(text)) return Promise.resolve()
    const { promise, resolve: found, reject } = Promise.withResolvers<void>()
    waiting.set(text, found)
    void ended.then(() => reject(new Error(`it ended without ${text}: ${JSON.stringify(texts)}`)))
    return promise
  }
  return { child, printed, ended }
}

export async function runTintype(
  args: string[],
  options?: CommandOptions,
): Promise<{ code: number | null; out: string; err: string }> {
  return await spawnTintype(args, options).ended
}
