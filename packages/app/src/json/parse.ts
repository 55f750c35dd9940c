import { exactInteger, jsonDepthMax } from "./limits.ts"
import { PythonJsonParser, PythonJsonError } from "./python-json.ts"

/** `invalid` has Python's words and position, in code points; `unreadable` is no text, too deep or too long a number. */
export type ParsedJson =
  | { kind: "value"; value: unknown }
  | { kind: "invalid"; message: string; position: number }
  | { kind: "unreadable" }

/**
 * Reads a body as FastAPI reads it: an integer beyond ±2^53 is a bigint with all its digits, NaN and Infinity are
 * numbers, `__proto__` is a key like any other.
 */
export function parseJson(bytes: Uint8Array): ParsedJson {
  let text: string
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return { kind: "unreadable" }
  }
  try {
    const value = parseText(text)
    return isDeeper(value, jsonDepthMax) ? { kind: "unreadable" } : { kind: "value", value }
  } catch (error) {
    if (!(error instanceof PythonJsonError)) return { kind: "unreadable" }
    return { kind: "invalid", message: error.message, position: error.position }
  }
}

function parseText(text: string): unknown {
  try {
    // The reviver costs a call for each value, so it runs only where an integer may be too long for a number.
    return /\d{16}/.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return new PythonJsonParser(text).parse()
  }
}

function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value
  return exactInteger(context?.source ?? "") ?? value
}

function isDeeper(value: unknown, depthMax: number): boolean {
  let level = [value].filter(isContainer)
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= depthMax) return true
    level = level.flatMap((each) => Object.values(each).filter(isContainer))
  }
  return false
}

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null
}
