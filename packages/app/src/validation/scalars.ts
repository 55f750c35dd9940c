import type {
  BytesNode,
  BooleanNode,
  Bounds,
  IntegerNode,
  LiteralNode,
  NumberNode,
  StringNode,
} from "../schema/node.ts"
import { countCodePoints } from "../json/code-points.ts"
import { integerDigitsMax } from "../json/limits.ts"
import { expectedText } from "./python-text.ts"
import { closeness, invalid, type Checked, type Place, type Run } from "./run.ts"

const integerText = /^([+-]?\d+(?:_\d+)*)(?:\.0+)?$/
// Each digit can be matched in one way only, so that a long text that is no number is refused in linear time.
const numberText =
  /^[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i
const nonFiniteText = /^([+-]?)(?:(inf|infinity)|nan)$/i

export function checkInteger(
  node: IntegerNode,
  input: unknown,
  place: Place | null,
  run: Run,
): Checked<number | bigint> {
  const value = readInteger(input, place, run)
  if (value === invalid || !checkBounds(node.bounds, value, input, place, run)) return invalid
  if (typeof value === "number" || node.unsafe === "bigint") return value
  // The schema promises the app a number: an honest error is better than other digits.
  const bounds = { ge: Number.MIN_SAFE_INTEGER, le: Number.MAX_SAFE_INTEGER }
  checkBounds(bounds, value, input, place, run)
  return invalid
}

function readInteger(input: unknown, place: Place | null, run: Run): Checked<number | bigint> {
  const fail = (type: string, msg: string): typeof invalid => run.fail(place, input, type, msg)
  if (typeof input === "bigint") return input
  if (typeof input === "number") {
    if (Number.isSafeInteger(input)) return input === 0 ? 0 : input
    run.loosen(closeness.lax)
    if (!Number.isFinite(input)) return fail("finite_number", "Input should be a finite number")
    if (!Number.isInteger(input)) {
      const msg = "Input should be a valid integer, got a number with a fractional part"
      return fail("int_from_float", msg)
    }
    if (fits64Bits(input)) return BigInt(input)
    return fail("int_parsing_size", tooLong)
  }
  run.loosen(closeness.lax)
  if (typeof input === "boolean") return Number(input)
  if (typeof input !== "string") return fail("int_type", "Input should be a valid integer")
  const digits = integerText.exec(input.trim())?.[1]?.replaceAll("_", "")
  if (digits === undefined) {
    const msg = "Input should be a valid integer, unable to parse string as an integer"
    return fail("int_parsing", msg)
  }
  if (digits.length > integerDigitsMax) return fail("int_parsing_size", tooLong)
  const value = BigInt(digits.replace("+", ""))
  const small = Number(value)
  return Number.isSafeInteger(small) ? small : value
}

const tooLong = "Unable to parse input string as an integer, exceeded maximum size"

export function checkNumber(
  node: NumberNode,
  input: unknown,
  place: Place | null,
  run: Run,
): Checked<number> {
  const value = readNumber(input, place, run)
  return value === invalid || checkBounds(node.bounds, value, input, place, run) ? value : invalid
}

function readNumber(input: unknown, place: Place | null, run: Run): Checked<number> {
  if (typeof input === "number" || typeof input === "bigint") {
    const value = Number(input)
    if (typeof input === "bigint" || Number.isInteger(value)) run.loosen(closeness.strict)
    return value
  }
  run.loosen(closeness.lax)
  if (typeof input === "boolean") return Number(input)
  if (typeof input !== "string") {
    return run.fail(place, input, "float_type", "Input should be a valid number")
  }
  const text = input.trim()
  if (numberText.test(text)) return Number(text.replaceAll("_", ""))
  const name = nonFiniteText.exec(text)
  if (name !== null) {
    if (name[2] === undefined) return NaN
    return name[1] === "-" ? -Infinity : Infinity
  }
  const msg = "Input should be a valid number, unable to parse string as a number"
  return run.fail(place, input, "float_parsing", msg)
}

// NaN fails every bound, as in Pydantic: hence `!(a <= b)` and not `a > b`.
function checkBounds(
  bounds: Bounds,
  value: number | bigint,
  input: unknown,
  place: Place | null,
  run: Run,
): boolean {
  const { multipleOf, le, lt, ge, gt } = bounds
  const fail = (type: string, msg: string, ctx: Record<string, unknown>): false => {
    run.fail(place, input, type, `Input should be ${msg}`, ctx)
    return false
  }
  if (multipleOf !== undefined && !isMultiple(value, multipleOf)) {
    return fail("multiple_of", `a multiple of ${multipleOf}`, { multiple_of: multipleOf })
  }
  if (le !== undefined && !(value <= le)) {
    return fail("less_than_equal", `less than or equal to ${le}`, { le })
  }
  if (lt !== undefined && !(value < lt)) return fail("less_than", `less than ${lt}`, { lt })
  if (ge !== undefined && !(value >= ge)) {
    return fail("greater_than_equal", `greater than or equal to ${ge}`, { ge })
  }
  if (gt !== undefined && !(value > gt)) return fail("greater_than", `greater than ${gt}`, { gt })
  return true
}

function isMultiple(value: number | bigint, of: number): boolean {
  if (typeof value === "bigint") return Number.isInteger(of) && value % BigInt(of) === 0n
  const rest = Math.abs(value % of)
  // Of a float, one part in 10^9 is forgiven.
  const tolerance = Number.isInteger(value) && Number.isInteger(of) ? 0 : Math.abs(value) / 1e9
  return !(rest > tolerance && Math.abs(rest - Math.abs(of)) > tolerance)
}

const booleanTexts = new Map<string, boolean>([
  ...["1", "on", "t", "true", "y", "yes"].map((text) => [text, true] as const),
  ...["0", "off", "f", "false", "n", "no"].map((text) => [text, false] as const),
])

export function checkBoolean(
  _node: BooleanNode,
  input: unknown,
  place: Place | null,
  run: Run,
): Checked<boolean> {
  if (typeof input === "boolean") return input
  run.loosen(closeness.lax)
  if (typeof input === "string" || fits64Bits(input)) {
    const value = booleanTexts.get(String(input).toLowerCase())
    if (value !== undefined) return value
    const msg = "Input should be a valid boolean, unable to interpret input"
    return run.fail(place, input, "bool_parsing", msg)
  }
  return run.fail(place, input, "bool_type", "Input should be a valid boolean")
}

export function checkString(
  node: StringNode,
  input: unknown,
  place: Place | null,
  run: Run,
): Checked<string> {
  if (typeof input !== "string") {
    return run.fail(place, input, "string_type", "Input should be a valid string")
  }
  const { minLength, maxLength } = node.lengths
  if (minLength !== undefined || maxLength !== undefined) {
    const length = countCodePoints(input)
    if (maxLength !== undefined && length > maxLength) {
      const msg = `String should have at most ${count(maxLength, "character")}`
      return run.fail(place, input, "string_too_long", msg, { max_length: maxLength })
    }
    if (minLength !== undefined && length < minLength) {
      const msg = `String should have at least ${count(minLength, "character")}`
      return run.fail(place, input, "string_too_short", msg, { min_length: minLength })
    }
  }
  const { pattern } = node
  if (pattern !== undefined) {
    pattern.lastIndex = 0
    if (!pattern.test(input)) {
      const msg = `String should match pattern '${pattern.source}'`
      return run.fail(place, input, "string_pattern_mismatch", msg, { pattern: pattern.source })
    }
  }
  return input
}

/** Of msgpack the bytes themselves; JSON has none, so there a text is read as base64, as Pydantic can be told to. */
export function checkBytes(
  _node: BytesNode,
  input: unknown,
  place: Place | null,
  run: Run,
): Checked<Uint8Array> {
  if (input instanceof Uint8Array) return asPlainBytes(input)
  run.loosen(closeness.lax)
  if (typeof input !== "string") {
    return run.fail(place, input, "bytes_type", "Input should be a valid bytes")
  }
  if (/^[A-Za-z0-9+/_-]*={0,2}$/.test(input)) {
    return asPlainBytes(Buffer.from(input, "base64"))
  }
  const msg = "Data should be valid base64: Invalid symbol"
  return run.fail(place, input, "bytes_invalid_encoding", msg, { encoding: "base64" })
}

/** A Buffer has a word of its own for JSON, before anyone else is asked. */
function asPlainBytes({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** `1 item`, `2 items`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`
}

export function checkLiteral(
  node: LiteralNode,
  input: unknown,
  place: Place | null,
  run: Run,
): Checked {
  if (node.values.some((value) => value === input)) return input
  // A choice of integers reads the input as one of 64 bits first.
  if (typeof input === "bigint" && !fits64Bits(input) && node.values.some(Number.isInteger)) {
    return run.fail(place, input, "int_parsing_size", tooLong)
  }
  const expected = expectedText(node)
  return run.fail(place, input, "literal_error", `Input should be ${expected}`, { expected })
}

function fits64Bits(input: unknown): input is number | bigint {
  if (typeof input === "bigint") return BigInt.asIntN(64, input) === input
  return Number.isInteger(input) && Math.abs(Number(input)) < 2 ** 63
}
