/**
 * JSON whose numbers keep their digits: a 64-bit seed is larger than what a JavaScript number can hold, and the
 * platform promises to carry it unchanged. Numbers become `JSON.rawJSON` values, which print as they were written.
 */
interface ExactJson {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown
  rawJSON(text: string): object
}

// Node 24 has both; the compiler's library does not know them yet.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const exact = JSON as unknown as ExactJson

/** Parses for printing again with `JSON.stringify`; throws `SyntaxError`. */
export function parseExact(text: string): unknown {
  return exact.parse(text, (_, value, { source }) =>
    typeof value === "number" && source !== undefined ? exact.rawJSON(source) : value,
  )
}
