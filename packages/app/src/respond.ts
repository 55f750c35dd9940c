import { modelErrorAnswer, type ModelErrorItem } from "@tintype/protocol"
import { type AppError, isAppError } from "./app-error.ts"
import type { RunContext } from "./context.ts"
import type { App, AppEndpoint } from "./define-app.ts"
import { parseJson } from "./json/parse.ts"
import { toPlain, writeJson } from "./json/write.ts"
import { answerModelError, isModelError } from "./model-error.ts"
import { validate, type ValidationError } from "./validation/validate.ts"

export interface AppCall {
  /** The app's own: `/`, `/image-to-image`. */
  path: string
  input: Uint8Array
}

/** Header names are lower case. */
export interface AppAnswer {
  status: number
  headers: Record<string, string>
  body: Uint8Array
}

/** All the inputs that one answer's errors repeat; what goes beyond is left out of its error. */
export const echoedInputBytesMax = 256 * 1024

const json = { "content-type": "application/json" }
const free = { "x-fal-billable-units": "0" }

/**
 * One call of an app, from the bytes of its input to the bytes of its answer. What the app throws on purpose
 * (`ModelError`, `AppError`) and an invalid input are answers; anything else is thrown on: an abort, and the app's bugs, an output
 * that its schema does not allow among them.
 */
export async function respond(app: App, call: AppCall, context: RunContext): Promise<AppAnswer> {
  const endpoint = app.endpoints.get(call.path)
  if (endpoint === undefined) return refuse(404, `Path ${call.path} not found`)
  try {
    if (endpoint.kind === "json") return await respondJson(endpoint, call.input, context)
    return { status: 200, headers: { ...json }, body: await endpoint.raw(call.input, context) }
  } catch (error) {
    // A cancelled call has no answer, whatever the app made of the abort.
    if (context.signal.aborted) throw error
    if (isAppError(error)) return answerAppError(error)
    if (!isModelError(error)) throw error
    return answerModelError(error)
  }
}

async function respondJson(
  endpoint: Extract<AppEndpoint, { kind: "json" }>,
  bytes: Uint8Array,
  context: RunContext,
): Promise<AppAnswer> {
  const parsed = parseJson(bytes)
  if (bytes.length === 0) return refuseInput([emptyBody])
  if (parsed.kind === "unreadable") return refuse(400, "There was an error parsing the body")
  if (parsed.kind === "invalid") {
    return refuseInput([
      {
        type: "json_invalid",
        loc: ["body", parsed.position],
        msg: "JSON decode error",
        input: {},
        ctx: { error: parsed.message },
      },
    ])
  }
  const input = validate(endpoint.input, parsed.value, ["body"])
  if ("errors" in input) return refuseInput(boundEcho(input.errors))
  const output = await endpoint.run(input.value, context)
  const checked = validate(endpoint.output, output, ["output"])
  if ("errors" in checked) throw new OutputError(checked.errors)
  return { status: 200, headers: { ...json }, body: writeJson(checked.value) }
}

const emptyBody: ModelErrorItem = {
  type: "missing",
  loc: ["body"],
  msg: "Field required",
  input: null,
}

/** The app answered what its own output schema does not allow: a bug of the app. */
export class OutputError extends Error {
  readonly errors: ValidationError[]

  constructor(errors: ValidationError[]) {
    const told = errors.slice(0, 5).map(({ loc, msg }) => `${loc.join(".")}: ${msg}`)
    const more = errors.length > told.length ? ` and ${errors.length - told.length} more` : ""
    super(`the output does not match its schema: ${told.join("; ")}${more}`)
    this.name = "OutputError"
    this.errors = errors
  }
}

function answerAppError({ status, message, headers }: AppError): AppAnswer {
  return { status, headers: { ...json, ...headers }, body: writeJson({ detail: message }) }
}

function refuse(status: number, detail: string): AppAnswer {
  return { status, headers: { ...json, ...free }, body: writeJson({ detail }) }
}

function refuseInput(errors: readonly ModelErrorItem[]): AppAnswer {
  const { status, headers, body } = modelErrorAnswer(errors)
  return { status, headers: { ...headers, ...free }, body }
}

/** A missing field repeats the object it is missing in: ten of them would repeat ten megabytes ten times. */
function boundEcho(errors: readonly ValidationError[]): ModelErrorItem[] {
  let left = echoedInputBytesMax
  return errors.map(({ input: given, ...error }) => {
    if (given === undefined || left <= 0) return error
    const input = toPlain(given)
    const size = Buffer.byteLength(JSON.stringify(input))
    const fits = size <= left
    // What does not fit counts as well: measuring it is the work that must end.
    left -= size
    return fits ? { ...error, input } : error
  })
}
