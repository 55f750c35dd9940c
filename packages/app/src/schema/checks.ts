import type { Bounds, Lengths } from "./node.ts"
import { UnsupportedSchemaError } from "./unsupported.ts"
import { checksOf, defOfCheck, type CheckDef, type ZodCheck, type ZodDef } from "./zod.ts"

const understood = new Set([
  "greater_than",
  "less_than",
  "multiple_of",
  "min_length",
  "max_length",
  "length_equals",
  "number_format",
  "custom",
])

/** The `.refine()`s; throws for a check that Pydantic's messages have no word for. */
export function refinementsOf(def: ZodDef, at: { path: string }): ZodCheck[] {
  return checksOf(def).filter((each) => {
    const check = defOfCheck(each)
    if (understood.has(check.check) || isRegex(check)) return check.check === "custom"
    const name = typeof check["format"] === "string" ? check["format"] : check.check
    throw new UnsupportedSchemaError(at.path, `the check ${name} is not supported`)
  })
}

export function readBounds(def: ZodDef, at: { path: string }): Bounds {
  const bounds: Bounds = {}
  for (const check of checksOf(def).map(defOfCheck)) {
    const { value } = check
    if (check.check === "greater_than" || check.check === "less_than") {
      if (typeof value !== "number" && typeof value !== "bigint") {
        throw new UnsupportedSchemaError(at.path, "a bound that is no number is not supported")
      }
      const limit = Number(value)
      const isLower = check.check === "greater_than"
      if (check["inclusive"] === true) bounds[isLower ? "ge" : "le"] = limit
      else bounds[isLower ? "gt" : "lt"] = limit
    } else if (check.check === "multiple_of") bounds.multipleOf = Number(value)
  }
  return bounds
}

export function readLengths(def: ZodDef): Lengths {
  const lengths: Lengths = {}
  for (const check of checksOf(def).map(defOfCheck)) {
    if (check.check === "min_length") lengths.minLength = Number(check["minimum"])
    if (check.check === "max_length") lengths.maxLength = Number(check["maximum"])
    if (check.check === "length_equals") {
      lengths.minLength = Number(check["length"])
      lengths.maxLength = Number(check["length"])
    }
  }
  return lengths
}

export function readPattern(def: ZodDef, at: { path: string }): RegExp | null {
  if ("format" in def) {
    const message = `the string format ${String(def.format)} is not supported; say z.string()`
    throw new UnsupportedSchemaError(at.path, message)
  }
  const patterns = checksOf(def).flatMap((check) => {
    const { pattern } = defOfCheck(check)
    return pattern instanceof RegExp ? [pattern] : []
  })
  if (patterns.length > 1) {
    throw new UnsupportedSchemaError(at.path, "more than one regex is not supported")
  }
  return patterns[0] ?? null
}

function isRegex(check: CheckDef): boolean {
  return check.check === "string_format" && check["format"] === "regex"
}
