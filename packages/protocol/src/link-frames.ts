import type { AttemptEvent, GatewayFrame, PartFrame, RunnerFrame } from "./link.ts"
import { linkChunkBytesMax, linkFrameBytesMax, linkMessageBytesMax } from "./link.ts"

/** What each field of each frame may hold: the tables behind the decoders of link-codec.ts. */

/** A message that breaks the link's protocol: the link is closed with 1002 and this message as the reason. */
export class LinkProtocolError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "LinkProtocolError"
  }
}

/** Throws `LinkProtocolError` when the value is not what it should be; `at` names it in the message. */
type Check = (value: unknown, at: string) => void

type Fields<Of> = { [Name in Exclude<keyof Of, "type" | "kind">]-?: Check }

/** Entries of any list or record; above what a runner can hold, far below what a message could carry. */
const entriesMax = 4_096

function refuse(at: string, wanted: string): never {
  throw new LinkProtocolError(`${at}: ${wanted} expected`)
}

function integer(min: number, max = Number.MAX_SAFE_INTEGER): Check {
  return (value, at) => {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max)
      refuse(at, `an integer from ${min} to ${max}`)
  }
}

const amount: Check = (value, at) => {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
    refuse(at, "a finite number of at least 0")
}

function text(lengthMax = linkMessageBytesMax): Check {
  return (value, at) => {
    if (typeof value !== "string" || value.length > lengthMax)
      refuse(at, `a text of at most ${lengthMax} characters`)
  }
}

/** Leases, sessions: opaque, and part of transfer URLs. */
const token: Check = (value, at) => {
  if (typeof value !== "string" || !/^[A-Za-z0-9_-]{1,64}$/.test(value))
    refuse(at, "1 to 64 characters of A-Z a-z 0-9 _ -")
}

function bytesUpTo(lengthMax: number): Check {
  return (value, at) => {
    if (!(value instanceof Uint8Array) || value.length > lengthMax)
      refuse(at, `at most ${lengthMax} bytes`)
  }
}

const bytes = bytesUpTo(linkFrameBytesMax)

const bytesOrNull: Check = (value, at) => {
  if (value !== null && !(value instanceof Uint8Array)) refuse(at, "bytes or nil")
}

const flag: Check = (value, at) => {
  if (typeof value !== "boolean") refuse(at, "true or false")
}

function oneOf(...allowed: string[]): Check {
  return (value, at) => {
    if (typeof value !== "string" || !allowed.includes(value)) refuse(at, allowed.join(" | "))
  }
}

function optional(check: Check): Check {
  return (value, at) => {
    if (value !== undefined) check(value, at)
  }
}

function listOf(check: Check): Check {
  return (value, at) => {
    if (!Array.isArray(value) || value.length > entriesMax)
      refuse(at, `a list of at most ${entriesMax}`)
    for (const entry of value) check(entry, `${at}[]`)
  }
}

const textRecord: Check = (value, at) => {
  const entries = Object.entries(mapOf(value, at))
  if (entries.length > entriesMax) refuse(at, `a map of at most ${entriesMax}`)
  for (const [name, entry] of entries) {
    if (typeof entry !== "string") refuse(`${at}.${name.slice(0, 64)}`, "a text")
  }
}

function shape(fields: Record<string, Check>, tag?: string): Check {
  const names = Object.keys(fields)
  return (value, at) => {
    const map = mapOf(value, at)
    for (const name of names) fields[name]!(map[name], `${at}.${name}`)
    for (const name in map) {
      if (name !== tag && !Object.hasOwn(fields, name))
        refuse(`${at}.${name.slice(0, 64)}`, "no such field")
    }
  }
}

/** A map whose field `tag` says which of the shapes it has. */
function variant(tag: string, shapes: Record<string, Record<string, Check>>): Check {
  const checks = new Map(Object.entries(shapes).map(([name, fields]) => [name, shape(fields, tag)]))
  const names = [...checks.keys()].join(" | ")
  return (value, at) => {
    const name = mapOf(value, at)[tag]
    const check = typeof name === "string" ? checks.get(name) : undefined
    if (check === undefined) refuse(`${at}.${tag}`, names)
    check(value, String(name))
  }
}

function mapOf(value: unknown, at: string): Record<string, unknown> {
  return isMap(value) ? value : refuse(at, "a map")
}

function isMap(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false
  return !Array.isArray(value) && !(value instanceof Uint8Array)
}

const sequence = integer(1)
const name = text(1_024)

const events: { [Kind in AttemptEvent["kind"]]: Fields<Extract<AttemptEvent, { kind: Kind }>> } = {
  log: {
    seq: sequence,
    at: amount,
    level: oneOf("STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG"),
    message: text(),
    labels: optional(textRecord),
  },
  progress: { seq: sequence, at: amount, step: amount, steps: amount },
}

const fromRunner: { [Type in RunnerFrame["type"]]: Fields<Extract<RunnerFrame, { type: Type }>> } =
  {
    hello: {
      version: integer(1),
      session: token,
      runner: shape({ pid: integer(0), startedAt: name, build: name }),
      slots: integer(0, entriesMax),
      apps: listOf(name),
      held: listOf(shape({ lease: token, attempt: sequence, nextSeq: sequence })),
      unacked: listOf(token),
    },
    credit: { count: integer(1, entriesMax) },
    accepted: { lease: token },
    event: { lease: token, event: variant("kind", events) },
    chunk: { lease: token, seq: sequence, data: bytesUpTo(linkChunkBytesMax) },
    done: {
      lease: token,
      status: integer(200, 599),
      headers: textRecord,
      body: bytesOrNull,
      inferenceMs: amount,
    },
    failed: {
      lease: token,
      reason: oneOf("exception", "aborted", "incomplete_response", "unknown_app", "timed_out"),
      detail: text(),
      inferenceMs: amount,
    },
    retire: { why: name },
    pong: { at: amount },
    output: { channel: token, form: oneOf("msgpack", "json"), data: bytes },
    closed: { channel: token, code: integer(1_000, 4_999), reason: name },
  }

const fromGateway: {
  [Type in GatewayFrame["type"]]: Fields<Extract<GatewayFrame, { type: Type }>>
} = {
  welcome: {
    keep: listOf(shape({ lease: token, storedSeq: integer(0) })),
    abandon: listOf(token),
    orphanMs: amount,
  },
  assign: {
    lease: token,
    attempt: sequence,
    requestId: name,
    app: name,
    endpoint: name,
    path: name,
    input: bytesOrNull,
    inputBytes: integer(0),
    headers: textRecord,
    fileBase: text(4_096),
    logBytesMax: integer(0),
    timeoutMs: amount,
    streams: flag,
  },
  stored: { lease: token, seq: integer(0) },
  taken: { lease: token, seq: sequence },
  settled: { lease: token, result: oneOf("settled", "repeated", "stale") },
  cancel: {
    lease: token,
    reason: oneOf("client_cancelled", "client_disconnected", "server_stopping"),
  },
  open: {
    channel: token,
    app: name,
    endpoint: name,
    path: name,
    headers: textRecord,
    fileBase: text(4_096),
    exclusive: flag,
    timeoutMs: amount,
  },
  input: { channel: token, form: oneOf("msgpack", "json"), data: bytes },
  close: { channel: token },
  drain: { deadlineMs: amount },
  exit: {},
  ping: { at: amount },
}

const part: Fields<PartFrame> = { bytes, isLast: flag }

const checkPart = shape(part, "type")
const checkRunnerFrame = variant("type", fromRunner)
const checkGatewayFrame = variant("type", fromGateway)

export function assertRunnerFrames(frames: unknown[]): asserts frames is RunnerFrame[] {
  for (const frame of frames) checkRunnerFrame(frame, "frame")
}

export function assertGatewayFrames(frames: unknown[]): asserts frames is GatewayFrame[] {
  for (const frame of frames) checkGatewayFrame(frame, "frame")
}

export function assertPart(frame: unknown): asserts frame is PartFrame {
  checkPart(frame, "part")
}
