declare global {
  interface JSON {
    /** Node has it; the library of the language version we compile for does not know it yet. */
    rawJSON(text: string): unknown
  }
}

/**
 * Writes JSON with every digit of a bigint, and bytes as base64. Throws a TypeError for what JSON cannot say: a number that is not finite,
 * a cycle, no value at all.
 */
export function writeJson(value: unknown): Uint8Array {
  const text: string | undefined = JSON.stringify(value, (key, each: unknown) => {
    if (typeof each === "bigint") return JSON.rawJSON(String(each))
    if (typeof each === "number" && !Number.isFinite(each)) {
      throw new TypeError(`${key}: ${each} is not JSON`)
    }
    if (each instanceof Uint8Array) return Buffer.from(each).toString("base64")
    return each
  })
  if (text === undefined) throw new TypeError("no value")
  return new TextEncoder().encode(text)
}

/** A copy that any `JSON.stringify` can write: digits kept, and what is not finite as text, in Python's words. */
export function toPlain(value: unknown): unknown {
  if (typeof value === "bigint") return JSON.rawJSON(String(value))
  if (typeof value === "number" && !Number.isFinite(value)) return nonFiniteName(value)
  // An error repeats the input that it is about; of bytes, how many they were says as much.
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`
  if (Array.isArray(value)) return value.map(toPlain)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, toPlain(each)]))
}

function nonFiniteName(value: number): string {
  if (Number.isNaN(value)) return "nan"
  return value > 0 ? "inf" : "-inf"
}
