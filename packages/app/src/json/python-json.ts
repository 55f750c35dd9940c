import { countCodePoints } from "./code-points.ts"
import { exactInteger, jsonDepthMax } from "./limits.ts"

/** What Python's `json.loads` says of a text. */
export class PythonJsonError extends Error {
  /** In code points. */
  readonly position: number

  constructor(message: string, position: number) {
    super(message)
    this.name = "PythonJsonError"
    this.position = position
  }
}

const space = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// oxlint-disable-next-line no-control-regex
const plainText = /[^"\\\u0000-\u001f]*/y
const words: [string, unknown][] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
]
const escapes: Record<string, string> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
}

/**
 * Reads what `JSON.parse` refused: either it is one of Python's extras (NaN, Infinity), or the error is told in the words
 * and at the place of Python's parser, which callers of a FastAPI app see.
 */
export class PythonJsonParser {
  readonly #text: string
  #index = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  parse(): unknown {
    this.#skip(space)
    const value = this.#value()
    this.#skip(space)
    if (this.#index < this.#text.length) throw this.#error("Extra data")
    return value
  }

  #value(): unknown {
    const char = this.#text[this.#index]
    if (char === '"') return this.#string()
    if (char === "{") return this.#nested(() => Object.fromEntries(this.#members()))
    if (char === "[") return this.#nested(() => this.#items())
    const word = words.find(([each]) => this.#text.startsWith(each, this.#index))
    if (word !== undefined) {
      this.#index += word[0].length
      return word[1]
    }
    const digits = this.#skip(number)
    if (digits === "") throw this.#error("Expecting value")
    return exactInteger(digits) ?? Number(digits)
  }

  #nested<Value>(read: () => Value): Value {
    if (++this.#depth > jsonDepthMax) throw new RangeError("nested too deep")
    this.#index++
    this.#skip(space)
    const value = read()
    this.#depth--
    return value
  }

  #members(): [string, unknown][] {
    const members: [string, unknown][] = []
    if (this.#take("}")) return members
    for (;;) {
      if (this.#text[this.#index] !== '"') {
        throw this.#error("Expecting property name enclosed in double quotes")
      }
      const key = this.#string()
      this.#skip(space)
      if (!this.#take(":")) throw this.#error("Expecting ':' delimiter")
      this.#skip(space)
      members.push([key, this.#value()])
      if (this.#ended("}")) return members
    }
  }

  #items(): unknown[] {
    const items: unknown[] = []
    if (this.#take("]")) return items
    for (;;) {
      items.push(this.#value())
      if (this.#ended("]")) return items
    }
  }

  #ended(end: string): boolean {
    this.#skip(space)
    if (this.#take(end)) return true
    if (!this.#take(",")) throw this.#error("Expecting ',' delimiter")
    this.#skip(space)
    return false
  }

  #string(): string {
    const start = this.#index++
    let value = ""
    for (;;) {
      value += this.#skip(plainText)
      const char = this.#text[this.#index]
      if (this.#take('"')) return value
      if (char === undefined) throw this.#error("Unterminated string starting at", start)
      if (char !== "\\") throw this.#error("Invalid control character at")
      value += this.#escape(start)
    }
  }

  #escape(start: number): string {
    const at = this.#index
    const letter = this.#text[at + 1]
    if (letter === undefined) throw this.#error("Unterminated string starting at", start)
    if (letter !== "u") {
      const char = escapes[letter]
      if (char === undefined) throw this.#error("Invalid \\escape")
      this.#index += 2
      return char
    }
    const digits = this.#text.slice(at + 2, at + 6)
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#error("Invalid \\uXXXX escape", at + 1)
    this.#index += 6
    return String.fromCharCode(Number.parseInt(digits, 16))
  }

  #take(char: string): boolean {
    if (this.#text[this.#index] !== char) return false
    this.#index++
    return true
  }

  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#index
    const match = pattern.exec(this.#text)?.[0] ?? ""
    this.#index += match.length
    return match
  }

  #error(message: string, index = this.#index): PythonJsonError {
    return new PythonJsonError(message, countCodePoints(this.#text.slice(0, index)))
  }
}
