import { type MessageForm, packMessage, unpackMessage } from "@tintype/protocol"
import { isAppError } from "../app-error.ts"
import type { RunContext } from "../context.ts"
import type { App } from "../define-app.ts"
import { parseJson } from "../json/parse.ts"
import { toPlain, writeJson } from "../json/write.ts"
import { isModelError } from "../model-error.ts"
import { OutputError } from "../respond.ts"
import { isPlainObject } from "../validation/containers.ts"
import { validate } from "../validation/validate.ts"

export interface AppMessage {
  /** The app's own: `/`, `/image-to-image`. */
  path: string
  form: MessageForm
  data: Uint8Array
}

export interface MessageAnswer {
  form: MessageForm
  data: Uint8Array
  /** The app has a bug, and what it keeps of this caller may be broken: the connection ends. */
  failed: boolean
}

/** What an error says for people to read, in characters. */
const reasonLengthMax = 1_000
const errorsToldMax = 20

/**
 * One message of a caller, from its bytes to those of its answer, which has the same form. An error is a JSON text, whatever
 * the form, as clients look for it there; of what the caller can mend, and what the app refuses on purpose, the next
 * message knows nothing. Throws after an abort alone.
 */
export async function respondMessage(
  app: App,
  { path, form, data }: AppMessage,
  context: RunContext,
): Promise<MessageAnswer> {
  const endpoint = app.endpoints.get(path)
  if (endpoint?.kind !== "json" || endpoint.realtime === undefined) {
    return problem("NOT_FOUND", `Path ${path} is not realtime`, { failed: true })
  }
  const read = form === "json" ? readJson(data) : unpackMessage(data)
  if ("error" in read) return problem("BAD_REQUEST", `The message is not ${form}: ${read.error}`)
  const echo = requestIdOf(read.value)
  const input = validate(endpoint.input, read.value, ["body"])
  if ("errors" in input) return invalidInput(input.errors, echo)
  try {
    const output = await endpoint.realtime.run(input.value, context)
    const checked = validate(endpoint.realtime.output, output, ["output"])
    if ("errors" in checked) throw new OutputError(checked.errors)
    const answer = withRequestId(checked.value, echo)
    const written = form === "json" ? writeJson(answer) : packMessage(answer)
    return { form, data: written, failed: false }
  } catch (error) {
    // A cancelled call has no answer, whatever the app made of the abort.
    if (context.signal.aborted) throw error
    return refusalOf(error, echo)
  }
}

function readJson(data: Uint8Array): { value: unknown } | { error: string } {
  const parsed = parseJson(data)
  if (parsed.kind === "value") return parsed
  if (parsed.kind === "unreadable") return { error: "it cannot be read" }
  return { error: `${parsed.message}, at character ${parsed.position}` }
}

type Echo = { request_id?: unknown }

/** By convention an answer names the input that it is of. */
function requestIdOf(input: unknown): Echo {
  const id = isPlainObject(input) ? input["request_id"] : undefined
  return isName(id) ? { request_id: id } : {}
}

function withRequestId(output: unknown, echo: Echo): unknown {
  return isPlainObject(output) && !isName(output["request_id"]) ? { ...output, ...echo } : output
}

function isName(id: unknown): boolean {
  return (typeof id === "string" && id !== "") || typeof id === "number"
}

function invalidInput(
  errors: readonly { loc: (string | number)[]; msg: string; type: string; ctx?: unknown }[],
  echo: Echo,
): MessageAnswer {
  const reason = errors.slice(0, 3).map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg}`)
  const more = errors.length > reason.length ? ` and ${errors.length - reason.length} more` : ""
  // Without the input that each is about: a picture is no news to who sent it.
  const told = errors.slice(0, errorsToldMax).map(({ loc, msg, type, ctx }) => ({
    loc,
    msg,
    type,
    ...(ctx === undefined ? {} : { ctx: toPlain(ctx) }),
  }))
  const text = reason.join("; ").replaceAll(/(^|; ): /g, "$1") + more
  return problem("VALIDATION_ERROR", text, { detail: told, ...echo })
}

function refusalOf(error: unknown, echo: Echo): MessageAnswer {
  if (isModelError(error)) {
    const { loc, msg, type, ctx } = error.item
    const detail = [{ loc, msg, type, ...(ctx === undefined ? {} : { ctx: toPlain(ctx) }) }]
    return problem(type.toUpperCase(), msg, { detail, ...echo })
  }
  if (isAppError(error)) return problem("APP_ERROR", error.message, { ...echo })
  const reason = error instanceof Error ? error.message : String(error)
  return problem("INTERNAL_ERROR", reason, { failed: true, ...echo })
}

function problem(
  error: string,
  reason: string,
  { failed = false, ...more }: { failed?: boolean } & Record<string, unknown> = {},
): MessageAnswer {
  const told = { type: "x-fal-error", error, reason: reason.slice(0, reasonLengthMax), ...more }
  return { form: "json", data: new TextEncoder().encode(JSON.stringify(told)), failed }
}
