import { AsyncLocalStorage } from "node:async_hooks"
import { format } from "node:util"
import type { LogLevel } from "@tintype/protocol"

/** Where what an app prints belongs while one of its attempts runs. */
export interface ConsoleReceiver {
  /** False when it takes nothing any more; the line then goes where it would go without an attempt. */
  print(level: LogLevel, text: string): boolean
}

const current = new AsyncLocalStorage<ConsoleReceiver>()

/** Runs `work` with everything that it prints, however deep and however late, going to `receiver`. */
export function printingTo<T>(receiver: ConsoleReceiver, work: () => T): T {
  return current.run(receiver, work)
}

const levels = [
  ["log", "STDOUT"],
  ["info", "STDOUT"],
  ["debug", "STDOUT"],
  ["warn", "STDERR"],
  ["error", "STDERR"],
] as const

/**
 * Makes `console.*` within an attempt a log event of that attempt; everything else is printed as before. Returns the
 * function that undoes it.
 */
export function captureConsole(target: Console = console): () => void {
  const originals = levels.map(([name, level]) => ({ name, level, original: target[name] }))
  for (const { name, level, original } of originals) {
    target[name] = (...values: unknown[]) => {
      const taken = current.getStore()?.print(level, format(...values)) ?? false
      if (!taken) original.apply(target, values)
    }
  }
  return () => {
    for (const { name, original } of originals) target[name] = original
  }
}
