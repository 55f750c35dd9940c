import type { ArrayNode, ObjectNode, RecordNode, SchemaNode, TupleNode } from "../schema/node.ts"
import { closeness, invalid, type Checked, type Place, type Run } from "./run.ts"
import { count } from "./scalars.ts"

/** The walk itself, given to those that go down one level. */
export type Check = (node: SchemaNode, input: unknown, place: Place | null, run: Run) => Checked

export function checkArray(
  node: ArrayNode,
  input: unknown,
  place: Place | null,
  run: Run,
  check: Check,
): Checked<unknown[]> {
  if (!Array.isArray(input)) {
    return run.fail(place, input, "list_type", "Input should be a valid list")
  }
  const { minLength, maxLength } = node.lengths
  const actual = input.length
  const ctx = { field_type: "List", actual_length: actual }
  if (maxLength !== undefined && actual > maxLength) {
    const msg = `List should have at most ${count(maxLength, "item")} after validation, not ${actual}`
    return run.fail(place, input, "too_long", msg, { ...ctx, max_length: maxLength })
  }
  const values = input.map((each, key) => check(node.element, each, { parent: place, key }, run))
  if (values.includes(invalid)) return invalid
  if (minLength !== undefined && actual < minLength) {
    const msg = `List should have at least ${count(minLength, "item")} after validation, not ${actual}`
    return run.fail(place, input, "too_short", msg, { ...ctx, min_length: minLength })
  }
  return values
}

export function checkTuple(
  node: TupleNode,
  input: unknown,
  place: Place | null,
  run: Run,
  check: Check,
): Checked<unknown[]> {
  if (!Array.isArray(input)) {
    return run.fail(place, input, "tuple_type", "Input should be a valid tuple")
  }
  run.loosen(closeness.lax)
  const { length } = node.elements
  if (input.length > length) {
    const msg = `Tuple should have at most ${count(length, "item")} after validation, not ${input.length}`
    const ctx = { field_type: "Tuple", max_length: length, actual_length: input.length }
    return run.fail(place, input, "too_long", msg, ctx)
  }
  const values = node.elements.map((element, key) => {
    const at = { parent: place, key }
    if (key < input.length) return check(element, input[key], at, run)
    return run.fail(at, input, "missing", "Field required")
  })
  return values.includes(invalid) ? invalid : values
}

export function checkRecord(
  node: RecordNode,
  input: unknown,
  place: Place | null,
  run: Run,
  check: Check,
): Checked<object> {
  if (!isPlainObject(input)) {
    return run.fail(place, input, "dict_type", "Input should be a valid dictionary")
  }
  const entries = Object.entries(input).map(([key, each]): [Checked, Checked] => {
    const at = { parent: place, key }
    return [
      check(node.keys, key, { parent: at, key: "[key]" }, run),
      check(node.values, each, at, run),
    ]
  })
  if (entries.flat().includes(invalid)) return invalid
  // Object.fromEntries defines properties: a key such as __proto__ stays data.
  return Object.fromEntries(entries.map(([key, value]) => [String(key), value]))
}

export function checkObject(
  node: ObjectNode,
  input: unknown,
  place: Place | null,
  run: Run,
  check: Check,
): Checked<object> {
  if (!isPlainObject(input)) {
    const msg = "Input should be a valid dictionary or object to extract fields from"
    return run.fail(place, input, "model_attributes_type", msg)
  }
  run.loosen(closeness.lax)
  const entries: [string, unknown][] = []
  let isValid = true
  let fieldsSet = 0
  for (const { key, node: fieldNode, presence, makeDefault, defaultIsInput } of node.fields) {
    const at = { parent: place, key }
    const given = isSet(input, key)
    if (!given && makeDefault === undefined) {
      if (presence === "required") {
        run.fail(at, input, "missing", "Field required")
        isValid = false
      }
      continue
    }
    if (given) fieldsSet++
    const source = given ? input[key] : makeDefault?.()
    const value = given || defaultIsInput === true ? check(fieldNode, source, at, run) : source
    if (value === invalid) isValid = false
    else entries.push([key, value])
  }
  run.addFieldsSet(fieldsSet)
  if (!addExtra(node, input, place, run, entries)) isValid = false
  return isValid ? Object.fromEntries(entries) : invalid
}

/** What the schema does not name; false where that is forbidden. */
function addExtra(
  node: ObjectNode,
  input: Record<string, unknown>,
  place: Place | null,
  run: Run,
  entries: [string, unknown][],
): boolean {
  if (node.extra === "ignore") return true
  const known = new Set(node.fields.map(({ key }) => key))
  const extra = Object.entries(input).filter(([key]) => !known.has(key))
  if (node.extra === "allow") {
    entries.push(...extra)
    return true
  }
  for (const [key, value] of extra) {
    const msg = "Extra inputs are not permitted"
    run.fail({ parent: place, key }, value, "extra_forbidden", msg)
  }
  return extra.length === 0
}

/** Undefined is what an app's output has where it has nothing. */
function isSet(input: Record<string, unknown>, key: string): boolean {
  return Object.hasOwn(input, key) && input[key] !== undefined
}

export function isPlainObject(input: unknown): input is Record<string, unknown> {
  if (typeof input !== "object" || input === null) return false
  return !Array.isArray(input) && !(input instanceof Uint8Array)
}
