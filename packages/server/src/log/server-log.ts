export interface LogStreams {
  out: { write(text: string): unknown }
  err: { write(text: string): unknown }
}

/** One line an entry: JSON under `--log json`, else text for a person. */
export class ServerLog {
  readonly #format: "text" | "json"
  readonly #streams: LogStreams
  #stopping = false

  constructor(format: "text" | "json", streams: LogStreams) {
    this.#format = format
    this.#streams = streams
  }

  write(entry: Record<string, unknown>): void {
    if (entry["event"] === "stopping") this.#stopping = true
    else if (this.#isNoNews(entry)) return
    const stream = entry["error"] === undefined ? this.#streams.out : this.#streams.err
    const line = this.#format === "json" ? jsonLine(entry) : textLine(entry)
    if (line !== null) stream.write(`${redactCredentials(line)}\n`)
  }

  #isNoNews({ event }: Record<string, unknown>): boolean {
    return this.#format === "text" && this.#stopping && untoldAtStop.has(String(event))
  }
}

/**
 * A line without credentials, wherever they came from: an error's text may quote a header. What goes by is `Key id:secret`,
 * a bearer token and the local secret; a word after "key" in a sentence is none.
 */
export function redactCredentials(line: string): string {
  return line
    .replace(/\b(Key|Bearer)(\s+)[^\s:"'\\]+:[^\s"'\\]+/gi, "$1$2redacted")
    .replace(/\b(Bearer|Local)(\s+)[\w.~+/=-]{20,}/gi, "$1$2redacted")
}

function jsonLine(entry: Record<string, unknown>): string {
  return JSON.stringify(entry, (_, value: unknown) =>
    value instanceof Error ? stackOf(value) : value,
  )
}

/** What happens at every start and every stop is not told to a person. */
const untold = new Set(["runner_connected", "runner_started", "runner_adopted"])
const untoldAtStop = new Set(["runner_disconnected", "runner_gone", "session_ended"])

function textLine(entry: Record<string, unknown>): string | null {
  const { event, ...fields } = entry
  if (untold.has(String(event))) return null
  if (event === "stopping") return stoppingLine(Number(fields["attempts"]))
  const time = new Date().toISOString().slice(11, 23)
  if (event === "request") {
    const { method, path, status, ms, requestId } = fields
    const id = requestId === null ? "" : ` ${textOf(requestId)}`
    return `${time} ${String(method)} ${String(path)} ${String(status)} ${Number(ms).toFixed(1)} ms${id}`
  }
  const told = Object.entries(fields).map(([name, value]) => `${name}=${textOf(value)}`)
  return [time, String(event).replaceAll("_", " "), ...told].join(" ")
}

function stoppingLine(attempts: number): string | null {
  if (attempts === 0) return null
  const what = attempts === 1 ? "one request that runs" : `${attempts} requests that run`
  return `Waiting for ${what}; Ctrl-C again puts what is left back in the queue.`
}

function textOf(value: unknown): string {
  if (value instanceof Error) return stackOf(value)
  return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value))
}

function stackOf(error: Error): string {
  return error.stack ?? String(error)
}
