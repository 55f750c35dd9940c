import {
  endpointIdLengthMax,
  modelErrorAnswer,
  type ModelErrorItem,
  parseEndpointId,
} from "@tintype/protocol"
import type { Limits } from "../../config.ts"
import { type Answer, jsonAnswer, methodNotAllowed, RefusedError, refusal } from "../answer.ts"
import { readBody } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { type Grant, mintToken } from "./tokens.ts"

/** Where tokens are made, of the REST surface: `/tokens/` and `/tokens/realtime`. Who gets here has shown a key, or needs none. */

const tokensPath = "/tokens"
const realtimePath = "/tokens/realtime"
/** A token must fit into a URL, and says what its body said. */
const bodyBytesMax = 4 * 1_024
const secondsDefault = 120

export function isTokensPath(path: string): boolean {
  return [tokensPath, realtimePath].includes(path.replace(/\/$/, ""))
}

/** The older route answers a bare string, the newer one an object; both take what the other one does. */
export async function answerTokens(gateway: Gateway, call: Call): Promise<Answer> {
  if (call.method !== "POST") return methodNotAllowed(call.method, "POST")
  const { account, caller } = call
  // Tokens are of use to those who may call apps; that a runner's key is none of them is refused before.
  if (caller.scope === null) return refusal(401, "Authorization header is required")
  const { parts } = gateway
  const { apps, seconds } = readAsked(await readFields(call, gateway), parts.config.limits)
  const grant: Grant = { account, key: caller.key?.id ?? null, apps }
  const token = await mintToken(parts, grant, seconds)
  const body = call.address.path.startsWith(realtimePath) ? { token } : token
  return jsonAnswer(200, body, { "cache-control": "no-store" })
}

async function readFields(call: Call, { parts }: Gateway): Promise<Record<string, unknown>> {
  // Above the smaller limit a body would become a blob, which nobody would read here.
  const { inlineBytesMax } = parts.config.limits
  const { body } = await readBody(call.raw, parts, Math.min(bodyBytesMax, inlineBytesMax))
  const text = "inline" in body ? new TextDecoder().decode(body.inline) : ""
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    const why = { error: error instanceof Error ? error.message : "" }
    throw invalid({ loc: ["body"], msg: "JSON decode error", type: "json_invalid", ctx: why })
  }
  if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return { ...parsed }
  throw invalid({
    loc: ["body"],
    msg: "Input should be a valid dictionary or object to extract fields from",
    type: "model_attributes_type",
    input: parsed,
  })
}

type TokenLimits = Pick<Limits, "tokenAppsMax" | "tokenSecondsMax">

function readAsked(
  fields: Record<string, unknown>,
  limits: TokenLimits,
): { apps: string[]; seconds: number } {
  return { apps: readApps(fields, limits), seconds: readSeconds(fields, limits) }
}

function readApps(fields: Record<string, unknown>, { tokenAppsMax }: TokenLimits): string[] {
  const { app, allowed_apps: given = app === undefined ? undefined : [app] } = fields
  const loc = ["body", "allowed_apps"]
  if (given === undefined) {
    throw invalid({ loc, msg: "Field required", type: "missing", input: fields })
  }
  if (!Array.isArray(given)) {
    throw invalid({ loc, msg: "Input should be a valid list", type: "list_type", input: given })
  }
  const [min, max] = [1, tokenAppsMax]
  if (given.length < min || given.length > max) {
    const [bound, type] = given.length < min ? ["least", "too_short"] : ["most", "too_long"]
    const length = given.length < min ? { min_length: min } : { max_length: max }
    const number = given.length < min ? `${min} item` : `${max} items`
    throw invalid({
      loc,
      msg: `List should have at ${bound} ${number} after validation, not ${given.length}`,
      type,
      ctx: { field_type: "List", ...length, actual_length: given.length },
    })
  }
  return given.map((name: unknown, index) => readApp(name, [...loc, index]))
}

/** An alias, or the id of an endpoint in its one spelling. */
function readApp(name: unknown, loc: (string | number)[]): string {
  if (typeof name !== "string") {
    throw invalid({ loc, msg: "Input should be a valid string", type: "string_type", input: name })
  }
  if (name.length <= endpointIdLengthMax && /^[\w.-]+$/.test(name)) return name
  const endpoint = parseEndpointId(name)
  if (endpoint !== null) return endpoint.id
  const msg = "Value error, neither an app's alias nor an endpoint id such as owner/app/realtime"
  throw invalid({ loc, msg, type: "value_error", input: name })
}

function readSeconds(fields: Record<string, unknown>, { tokenSecondsMax }: TokenLimits): number {
  const name = fields["token_expiration"] === undefined ? "duration" : "token_expiration"
  const loc = ["body", name]
  const { [name]: input = secondsDefault } = fields
  const isDigits = typeof input === "string" && /^\d{1,9}$/.test(input)
  const seconds = typeof input === "number" || isDigits ? Number(input) : NaN
  if (!Number.isInteger(seconds)) {
    throw invalid({ loc, msg: "Input should be a valid integer", type: "int_type", input })
  }
  if (seconds <= 0) {
    const msg = "Input should be greater than 0"
    throw invalid({ loc, msg, type: "greater_than", ctx: { gt: 0 }, input })
  }
  if (seconds <= tokenSecondsMax) return seconds
  const msg = `Input should be less than or equal to ${tokenSecondsMax}`
  throw invalid({ loc, msg, type: "less_than_equal", ctx: { le: tokenSecondsMax }, input })
}

/** The REST surface answers as FastAPI does. */
function invalid(item: ModelErrorItem): RefusedError {
  return new RefusedError(modelErrorAnswer([item]))
}
