/**
 * Checks bytes, chunk by chunk, against the grammar of RFC 8259, strictly: one JSON text in valid UTF-8, no byte order
 * mark, nothing after it but white space. It keeps no value, so its memory is the depth of the nesting.
 *
 * The state is what may come next. A number ends only with the byte after it, so that byte is looked at twice.
 */
type Mode =
  | "value"
  | "valueOrEnd"
  | "key"
  | "keyOrEnd"
  | "colon"
  | "after"
  | "string"
  | "escape"
  | "hex"
  | "continuation"
  | "literal"
  | "minus"
  | "zero"
  | "integer"
  | "point"
  | "fraction"
  | "exponent"
  | "exponentSign"
  | "exponentDigits"
  | "refused"

/** Deeper texts are refused: most parsers behind us recurse. */
export const jsonDepthMax = 1024

const code = {
  quote: 0x22,
  plus: 0x2b,
  comma: 0x2c,
  minus: 0x2d,
  point: 0x2e,
  zero: 0x30,
  nine: 0x39,
  colon: 0x3a,
  openArray: 0x5b,
  backslash: 0x5c,
  closeArray: 0x5d,
  openObject: 0x7b,
  closeObject: 0x7d,
}

const ascii = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0))
const whitespace = new Set(ascii(" \t\n\r"))
const escapes = new Set(ascii('"\\/bfnrt'))
const literals = ["true", "false", "null"].map(ascii)
const letterU = 0x75
const exponents = new Set(ascii("eE"))
const hexDigits = new Set(ascii("0123456789abcdefABCDEF"))

/** Modes in which a number may end. */
const wholeNumbers = new Set<Mode>(["zero", "integer", "fraction", "exponentDigits"])

export class JsonCheck {
  #mode: Mode = "value"
  /** For each open container: 1 an object, 0 an array. */
  readonly #containers = new Uint8Array(jsonDepthMax)
  #depth = 0
  #isKey = false
  #hexLeft = 0
  #literalLeft: number[] = []
  /** Of a multi-byte character: how many bytes are missing, and what the next one may be. */
  #continuation = { left: 0, low: 0x80, high: 0xbf }

  /** False as soon as the bytes so far cannot begin a JSON text. */
  push(chunk: Uint8Array): boolean {
    for (let index = 0; index < chunk.length; index += 1) {
      if (this.#mode === "string") index = plainEnd(chunk, index)
      const byte = chunk[index]
      if (byte === undefined) break
      this.#mode = this.#next(byte)
      if (this.#mode === "refused") return false
    }
    return this.#mode !== "refused"
  }

  /** True when the bytes were one whole JSON text. */
  end(): boolean {
    return this.#depth === 0 && (this.#mode === "after" || wholeNumbers.has(this.#mode))
  }

  #next(byte: number): Mode {
    switch (this.#mode) {
      case "value":
      case "valueOrEnd":
      case "key":
      case "keyOrEnd":
      case "colon":
      case "after":
        return whitespace.has(byte) ? this.#mode : this.#structure(byte, this.#mode)
      case "string":
      case "escape":
      case "hex":
      case "continuation":
        return this.#text(byte, this.#mode)
      case "literal":
        if (byte !== this.#literalLeft.shift()) return "refused"
        return this.#literalLeft.length === 0 ? "after" : "literal"
      case "refused":
        return "refused"
      default:
        return this.#number(byte, this.#mode)
    }
  }

  #structure(byte: number, mode: Mode): Mode {
    switch (mode) {
      case "valueOrEnd":
        return byte === code.closeArray ? this.#close(0) : this.#value(byte)
      case "keyOrEnd":
        return byte === code.closeObject ? this.#close(1) : this.#key(byte)
      case "key":
        return this.#key(byte)
      case "colon":
        return byte === code.colon ? "value" : "refused"
      case "after":
        if (byte === code.closeArray) return this.#close(0)
        if (byte === code.closeObject) return this.#close(1)
        if (byte !== code.comma || this.#depth === 0) return "refused"
        return this.#containers[this.#depth - 1] === 1 ? "key" : "value"
      default:
        return this.#value(byte)
    }
  }

  #key(byte: number): Mode {
    this.#isKey = true
    return byte === code.quote ? "string" : "refused"
  }

  #value(byte: number): Mode {
    switch (byte) {
      case code.quote:
        this.#isKey = false
        return "string"
      case code.openObject:
        return this.#open(1, "keyOrEnd")
      case code.openArray:
        return this.#open(0, "valueOrEnd")
      case code.minus:
        return "minus"
      case code.zero:
        return "zero"
      default:
        if (isDigit(byte)) return "integer"
    }
    const literal = literals.find(([first]) => first === byte)
    if (literal === undefined) return "refused"
    this.#literalLeft = literal.slice(1)
    return "literal"
  }

  #open(container: 0 | 1, mode: Mode): Mode {
    if (this.#depth === jsonDepthMax) return "refused"
    this.#containers[this.#depth] = container
    this.#depth += 1
    return mode
  }

  #close(container: 0 | 1): Mode {
    if (this.#depth === 0 || this.#containers[this.#depth - 1] !== container) return "refused"
    this.#depth -= 1
    return "after"
  }

  #text(byte: number, mode: Mode): Mode {
    switch (mode) {
      case "escape":
        if (byte === letterU) {
          this.#hexLeft = 4
          return "hex"
        }
        return escapes.has(byte) ? "string" : "refused"
      case "hex":
        if (!hexDigits.has(byte)) return "refused"
        this.#hexLeft -= 1
        return this.#hexLeft === 0 ? "string" : "hex"
      case "continuation": {
        const { left, low, high } = this.#continuation
        if (byte < low || byte > high) return "refused"
        this.#continuation = { left: left - 1, low: 0x80, high: 0xbf }
        return left === 1 ? "string" : "continuation"
      }
      default:
        if (byte === code.quote) return this.#isKey ? "colon" : "after"
        if (byte === code.backslash) return "escape"
        return this.#character(byte)
    }
  }

  /** The first byte of a character of a string: table 3-7 of the Unicode Standard, no overlong form, no surrogate. */
  #character(byte: number): Mode {
    if (byte < 0x20) return "refused"
    if (byte < 0x80) return "string"
    if (byte < 0xc2 || byte > 0xf4) return "refused"
    const left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
    const low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80
    const high = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf
    this.#continuation = { left, low, high }
    return "continuation"
  }

  #number(byte: number, mode: Mode): Mode {
    switch (mode) {
      case "minus":
        if (byte === code.zero) return "zero"
        return isDigit(byte) ? "integer" : "refused"
      case "integer":
        if (isDigit(byte)) return "integer"
        return this.#afterInteger(byte)
      case "zero":
        return this.#afterInteger(byte)
      case "point":
        return isDigit(byte) ? "fraction" : "refused"
      case "fraction":
        if (isDigit(byte)) return "fraction"
        return exponents.has(byte) ? "exponent" : this.#afterNumber(byte)
      case "exponent":
        if (byte === code.plus || byte === code.minus) return "exponentSign"
        return isDigit(byte) ? "exponentDigits" : "refused"
      case "exponentSign":
        return isDigit(byte) ? "exponentDigits" : "refused"
      default:
        return isDigit(byte) ? "exponentDigits" : this.#afterNumber(byte)
    }
  }

  #afterInteger(byte: number): Mode {
    if (byte === code.point) return "point"
    return exponents.has(byte) ? "exponent" : this.#afterNumber(byte)
  }

  #afterNumber(byte: number): Mode {
    return whitespace.has(byte) ? "after" : this.#structure(byte, "after")
  }
}

function isDigit(byte: number): boolean {
  return byte >= code.zero && byte <= code.nine
}

/** Where a string's run of plain ASCII ends; most bytes of a large text are passed here. */
function plainEnd(chunk: Uint8Array, start: number): number {
  let index = start
  for (; index < chunk.length; index += 1) {
    const byte = chunk[index] ?? 0
    if (byte < 0x20 || byte >= 0x80 || byte === code.quote || byte === code.backslash) break
  }
  return index
}
