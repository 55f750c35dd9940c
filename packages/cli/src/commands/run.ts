import { resolve } from "node:path"
import type { ParsedFlags } from "../flags.ts"
import { parseFlags } from "../flags.ts"
import { readInput, readInputText } from "../input.ts"
import { onInterrupt } from "../interrupts.ts"
import { nearest } from "@tintype/protocol"
import { ApiError } from "../queue/api-error.ts"
import { findOutputs, makeFolder, nameOutput, saveOutput } from "../queue/outputs.ts"
import type { ProgressView } from "../queue/progress-view.ts"
import { createProgressView } from "../queue/progress-view.ts"
import { QueueCalls } from "../queue/queue-calls.ts"
import type { StatusUpdate } from "../queue/wire-reading.ts"
import { parseJson } from "../queue/wire-reading.ts"
import { contactServer } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { CommandError, exitCodes, UsageError } from "../terminal.ts"

export const runFlags = {
  input: { type: "string" },
  out: { type: "string" },
  url: { type: "string" },
  quiet: { type: "boolean", short: "q" },
  json: { type: "boolean" },
} as const

const endpointId = /^[\w.~-]+(?:\/[\w.~-]+)+$/
/** How long a cancelled request may take to end before the command leaves it alone. */
const cancelWaitMs = 5_000

interface Run {
  endpoint: string
  body: string
  /** Folder for the outputs. */
  out: string
  json: boolean
  quiet: boolean
}

/** `tintype run ENDPOINT key=value …`: one request through the queue, its outputs saved. */
export async function runEndpoint(argv: string[], terminal: Terminal): Promise<number> {
  const flags = parseFlags(argv, runFlags)
  const run = await readRun(flags, terminal)
  const view = createProgressView(terminal.err, run.quiet || run.json)
  const interrupt = new AbortController()
  const release = onInterrupt((_, count) => {
    // The second time the person means it: nothing is waited for.
    if (count > 1) process.exit(exitCodes.interrupted)
    interrupt.abort()
  })
  try {
    await makeFolder(run.out)
    const contact = await contactServer(flags.strings["url"], terminal, (line) => view.note(line))
    try {
      return await execute(run, new QueueCalls(contact.target), view, terminal, interrupt.signal)
    } finally {
      await contact.close()
    }
  } catch (error) {
    // What breaks while a person stops the command is not news to them.
    if (interrupt.signal.aborted) return exitCodes.interrupted
    throw error
  } finally {
    view.end()
    release()
  }
}

async function readRun(flags: ParsedFlags, terminal: Terminal): Promise<Run> {
  const [endpoint, ...words] = flags.words
  if (endpoint === undefined) {
    throw new UsageError('Which endpoint? For example: tintype run fal-ai/flux/dev prompt="a cat"')
  }
  if (!endpointId.test(endpoint) || /(^|\/)\.{1,2}(\/|$)/.test(endpoint)) {
    throw new UsageError(
      `${JSON.stringify(endpoint)} is not an endpoint; they look like fal-ai/flux/dev`,
    )
  }
  const file = flags.strings["input"]
  const base = file === undefined ? null : await readInputText(file, terminal.input, terminal.cwd)
  return {
    endpoint,
    body: await readInput({ words, base, cwd: terminal.cwd }),
    out: resolve(terminal.cwd, flags.strings["out"] ?? "."),
    json: flags.booleans.has("json"),
    quiet: flags.booleans.has("quiet"),
  }
}

async function execute(
  run: Run,
  calls: QueueCalls,
  view: ProgressView,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  try {
    const startedAt = performance.now()
    if (signal.aborted) return exitCodes.interrupted
    const id = await calls.submit(run.endpoint, run.body)
    const last = await followOrCancel(run, calls, id, view, signal)
    if (last === null) return exitCodes.interrupted
    const text = await calls.result(run.endpoint, id)
    const paths = await saveOutputs(run, calls, id, text, signal)
    view.end()
    report(run, terminal, { id, text, paths, seconds: (performance.now() - startedAt) / 1000 })
    return exitCodes.succeeded
  } catch (error) {
    view.end()
    if (signal.aborted) return exitCodes.interrupted
    if (!(error instanceof ApiError)) throw error
    throw new CommandError(await explain(error, run.endpoint, calls), { cause: error })
  }
}

/** Null when the person stopped it: the request is cancelled then, and its end was waited for a moment. */
async function followOrCancel(
  run: Run,
  calls: QueueCalls,
  id: string,
  view: ProgressView,
  signal: AbortSignal,
): Promise<StatusUpdate | null> {
  try {
    for await (const update of calls.follow(run.endpoint, id, signal)) {
      view.update(update)
      if (update.status === "COMPLETED") return update
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  if (!signal.aborted) throw new CommandError(`The status of request ${id} ended early`)
  const cancelled = await calls.cancel(run.endpoint, id)
  if (cancelled) await untilEnd(run, calls, id)
  view.note(cancelled ? `Cancelled request ${id}` : `Request ${id} could not be cancelled`)
  return null
}

async function untilEnd(run: Run, calls: QueueCalls, id: string): Promise<void> {
  try {
    const updates = calls.follow(run.endpoint, id, AbortSignal.timeout(cancelWaitMs))
    for await (const update of updates) if (update.status === "COMPLETED") return
  } catch {
    // The cancellation is on record; whoever runs the request will see it.
  }
}

async function saveOutputs(
  run: Run,
  calls: QueueCalls,
  id: string,
  text: string,
  signal: AbortSignal,
): Promise<string[]> {
  const outputs = findOutputs(parseJson(text))
  const paths: string[] = []
  for (const [index, output] of outputs.entries()) {
    const place = { endpoint: run.endpoint, requestId: id, index, count: outputs.length }
    const target = { folder: run.out, name: nameOutput(output, place) }
    paths.push(await saveOutput(output, target, (url) => calls.download(url, signal)))
  }
  return paths
}

function report(
  run: Run,
  terminal: Terminal,
  done: { id: string; text: string; paths: string[]; seconds: number },
): void {
  if (run.json) {
    // The result goes out as it came, 64-bit numbers included.
    const result = parseJson(done.text) === undefined ? JSON.stringify(done.text) : done.text
    const files = JSON.stringify(done.paths)
    terminal.out.write(
      `{"request_id":${JSON.stringify(done.id)},"files":${files},"result":${result}}\n`,
    )
    return
  }
  if (!run.quiet) terminal.err.write(`Done in ${done.seconds.toFixed(1)} s, request ${done.id}\n`)
  for (const path of done.paths) terminal.out.write(`${path}\n`)
  if (done.paths.length === 0) terminal.out.write(`${done.text}\n`)
}

async function explain(error: ApiError, endpoint: string, calls: QueueCalls): Promise<string> {
  const lines = [...error.lines]
  if (error.status === 404 && lines.length === 1) {
    const near = await nearestEndpoint(endpoint, calls)
    if (near !== null) lines.push(`Did you mean ${near}?`)
  }
  return lines.join("\n")
}

async function nearestEndpoint(endpoint: string, calls: QueueCalls): Promise<string | null> {
  try {
    const page = await calls.models(new URLSearchParams({ limit: "100" }))
    const ids = page.models.map((model) => model.id)
    return ids.includes(endpoint) ? null : nearest(endpoint, ids)
  } catch {
    return null
  }
}
