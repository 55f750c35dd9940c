/** Where a command reads and writes. Results go to `out`, everything said about them to `err`. */
export interface Terminal {
  out: Output
  err: Output
  input: AsyncIterable<Uint8Array>
  env: Record<string, string | undefined>
  cwd: string
}

export interface Output {
  write(text: string): unknown
  /** Set on a terminal: lines may be drawn over. */
  isTTY?: boolean
  columns?: number
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // `tintype models | head` has seen enough; a full disk has not.
    if (error.code !== "EPIPE")
      process.stderr.write(`The output cannot be written: ${error.code}\n`)
    process.exit(exitCodes.failed)
  })
  return {
    out: process.stdout,
    err: process.stderr,
    input: process.stdin,
    env: process.env,
    cwd: process.cwd(),
  }
}

/** `refused`: of `tintype exec` alone, a program asked for a host that it may not call. */
export const exitCodes = {
  succeeded: 0,
  failed: 1,
  usage: 2,
  refused: 97,
  interrupted: 130,
} as const

/** The command line asked for something that does not exist; said in one line, exit code 2. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "UsageError"
  }
}

/** Something outside did not work; said in one line, exit code 1. */
export class CommandError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "CommandError"
  }
}

/**
 * Control characters in texts of others (logs, errors) would let an app move the cursor or rename the window.
 * Tabs and line breaks stay.
 */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "")
}

/** `fetch failed` says nothing; its cause does. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause, message } = error
  if (cause instanceof AggregateError) return reasonOf(cause.errors[0])
  return cause instanceof Error ? cause.message : message
}
