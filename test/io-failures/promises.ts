import { setTimeout as sleep } from "node:timers/promises"

/** Whatever happens, an answer or the end of the connection comes within this time. */
export const answerMsMax = 45_000

export interface Reply {
  status: number
  headers: Headers
  body: Buffer
}

/** How a call ended: whole; before its head came; in the middle of its body. */
export type Ending = { kind: "reply"; reply: Reply } | { kind: "no answer" | "cut"; error: string }

export async function ask(url: string, init: RequestInit = {}): Promise<Ending> {
  const signal = AbortSignal.timeout(answerMsMax)
  let response
  try {
    response = await fetch(url, { ...init, signal, redirect: "manual" })
  } catch (error) {
    if (signal.aborted) throw hangs(url, error)
    return { kind: "no answer", error: String(error) }
  }
  try {
    const body = Buffer.from(await response.arrayBuffer())
    return { kind: "reply", reply: { status: response.status, headers: response.headers, body } }
  } catch (error) {
    if (signal.aborted) throw hangs(url, error)
    return { kind: "cut", error: String(error) }
  }
}

function hangs(url: string, cause: unknown): Error {
  return new Error(`${url}: not answered within ${answerMsMax} ms`, { cause })
}

/** Null for an error in the API's own shape, and for what is none. */
export function shapeObjection({ status, headers, body }: Reply): string | null {
  if (status < 400) return null
  const text = body.toString().slice(0, 200)
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString())
  } catch {
    return `${status} without JSON: ${text}`
  }
  if (typeof parsed !== "object" || parsed === null || !("detail" in parsed)) {
    return `${status} without a detail: ${text}`
  }
  if (status === 429 && headers.get("retry-after") === null) return `429 without Retry-After`
  if (status >= 500 && !("request_id" in parsed)) return `${status} without a request: ${text}`
  return null
}

/** A submit that was answered with 200. */
export interface Submitted {
  id: string
  endpoint: string
  input: string
  webhook: boolean
}

/** What a caller has read of a terminal request; nothing else may ever be read of it. */
export interface Outcome {
  status: number
  body: string
}

/** All that a server has promised over its lives, and what was found of it. */
export class Promises {
  readonly submitted: Submitted[] = []
  readonly outcomes = new Map<string, Outcome>()
  /** Requests whose webhook has come in, with its body. */
  readonly told = new Map<string, string>()
  /** By the path of each file that was read, or named in an outcome. */
  readonly files = new Map<string, string>()

  /** Sentences about promises that a server, whose disk is well, does not keep. */
  async breaches(url: string, submitted: Submitted[] = this.submitted): Promise<string[]> {
    const found: string[] = []
    for (const one of submitted) {
      const sentence = await this.#breach(url, one).catch((error: unknown) => String(error))
      if (sentence !== null) found.push(`${one.endpoint} ${one.id}: ${sentence}`)
    }
    for (const [path, text] of this.files) {
      const ending = await ask(new URL(path, url).href)
      const isSame = ending.kind === "reply" && ending.reply.body.toString() === text
      if (!isSame) found.push(`${path}: ${describe(ending)}, not its bytes`)
    }
    return found
  }

  async #breach(url: string, { id, endpoint, input, webhook }: Submitted): Promise<string | null> {
    const base = `${url}/queue/${endpoint.split("/").slice(0, 2).join("/")}/requests/${id}`
    const ending = await ask(base, { headers: { prefer: "wait=15" } })
    if (ending.kind !== "reply") return describe(ending)
    const { status, body } = ending.reply
    const outcome = { status, body: body.toString() }
    const before = this.outcomes.get(id)
    if (before !== undefined && !isSameOutcome(before, outcome)) {
      return `its outcome changed from ${short(before)} to ${short(outcome)}`
    }
    const told = await ask(`${base}/status`)
    const isCompleted =
      told.kind === "reply" &&
      told.reply.status === 200 &&
      told.reply.body.toString().includes(`"COMPLETED"`)
    if (!isCompleted) return `it is not COMPLETED: ${describe(told)}`
    this.outcomes.set(id, outcome)
    if (status !== 200) return `it ended with ${short(outcome)}`
    if (endpoint === "tintype/echo" && outcome.body !== input) return `its output is not its input`
    this.noteFile(outcome, input)
    return webhook ? await this.#untilTold(id) : null
  }

  /** The probe of files puts its input into one. */
  noteFile({ status, body }: Outcome, input: string): void {
    if (status !== 200) return
    const { file } = JSON.parse(body) as { file?: { url: string } }
    if (file === undefined) return
    const { text } = JSON.parse(input) as { text: string }
    this.files.set(new URL(file.url).pathname, text)
  }

  async #untilTold(id: string): Promise<string | null> {
    const end = performance.now() + answerMsMax
    while (!this.told.has(id)) {
      if (performance.now() > end) return "its webhook did not come"
      await sleep(10)
    }
    return null
  }
}

/** The same but for the address of the server, which has another port in each life. */
function isSameOutcome(one: Outcome, other: Outcome): boolean {
  const plain = ({ body }: Outcome) => body.replaceAll(/127\.0\.0\.1:\d+/g, "")
  return one.status === other.status && plain(one) === plain(other)
}

function describe(ending: Ending): string {
  if (ending.kind !== "reply") return `${ending.kind} (${ending.error})`
  return short({ status: ending.reply.status, body: ending.reply.body.toString() })
}

function short({ status, body }: Outcome): string {
  return `${status} ${body.slice(0, 200)}`
}
