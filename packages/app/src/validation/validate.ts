import { config, core } from "zod"
import type { SchemaNode } from "../schema/node.ts"
import { runCheck } from "../schema/zod.ts"
import { checkArray, checkObject, checkRecord, checkTuple, isPlainObject } from "./containers.ts"
import {
  closeness,
  invalid,
  Run,
  type Checked,
  type LocPart,
  type Place,
  type ValidationError,
} from "./run.ts"
import {
  checkBoolean,
  checkBytes,
  checkInteger,
  checkLiteral,
  checkNumber,
  checkString,
} from "./scalars.ts"
import { checkTaggedUnion, checkUnion } from "./unions.ts"

export type { ValidationError } from "./run.ts"

export type Validated = { value: unknown } | { errors: ValidationError[] }

/**
 * Validates as Pydantic 2 does: lax coercion, its choice among a union's options, its errors word for word.
 *
 *     validate(readSchema(z.object({ n: z.int() })), { n: "28" }, ["body"]) // { value: { n: 28 } }
 */
export function validate(node: SchemaNode, input: unknown, loc: readonly LocPart[]): Validated {
  const run = new Run()
  const place = loc.reduce<Place | null>((parent, key) => ({ parent, key }), null)
  const value = check(node, input, place, run)
  return value === invalid ? { errors: run.errors } : { value }
}

function check(node: SchemaNode, input: unknown, place: Place | null, run: Run): Checked {
  const value = checkKind(node, input, place, run)
  return value === invalid || node.refinements.length === 0
    ? value
    : refine(node, value, input, place, run)
}

function checkKind(node: SchemaNode, input: unknown, place: Place | null, run: Run): Checked {
  switch (node.kind) {
    case "any":
      // Any is chosen before an option that would have to convert.
      run.loosen(closeness.strict)
      return input
    case "null":
      if (input === null) return null
      return run.fail(place, input, "none_required", "Input should be None")
    case "nullable":
      return input === null ? null : check(node.inner, input, place, run)
    case "lazy":
      return check(node.resolve(), input, place, run)
    case "boolean":
      return checkBoolean(node, input, place, run)
    case "integer":
      return checkInteger(node, input, place, run)
    case "number":
      return checkNumber(node, input, place, run)
    case "string":
      return checkString(node, input, place, run)
    case "bytes":
      return checkBytes(node, input, place, run)
    case "literal":
      return checkLiteral(node, input, place, run)
    case "array":
      return checkArray(node, input, place, run, check)
    case "tuple":
      return checkTuple(node, input, place, run, check)
    case "record":
      return checkRecord(node, input, place, run, check)
    case "object":
      return checkObject(node, input, place, run, check)
    case "union":
      return checkUnion(node, input, place, run, check)
    default:
      return checkTaggedUnion(node, input, place, run, check)
  }
}

/** `.refine()` is what a validator function is in Pydantic: it sees a valid value and may object. */
function refine(
  node: SchemaNode,
  value: unknown,
  input: unknown,
  place: Place | null,
  run: Run,
): Checked {
  let result: Checked = value
  for (const refinement of node.refinements) {
    const issues: core.$ZodRawIssue[] = []
    if (runCheck(refinement, value, issues) instanceof Promise) {
      throw new TypeError("an asynchronous refine is not supported; check in run()")
    }
    for (const issue of issues) {
      const { message, path } = core.util.finalizeIssue(issue, {}, config())
      const keys = path.map((key) => (typeof key === "symbol" ? String(key) : key))
      const at = keys.reduce<Place | null>((parent, key) => ({ parent, key }), place)
      const found = keys.reduce<unknown>((each, key) => memberOf(each, key), input)
      result = run.fail(at, found, "value_error", `Value error, ${message}`, { error: {} })
    }
  }
  return result
}

function memberOf(value: unknown, key: LocPart): unknown {
  if (Array.isArray(value)) return value[Number(key)]
  return isPlainObject(value) && Object.hasOwn(value, key) ? value[key] : undefined
}
