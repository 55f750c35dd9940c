import { Decoder, Encoder } from "@msgpack/msgpack"
import { findShapeError } from "../link-shape.ts"

/**
 * A realtime message in msgpack, as the official clients write and read it: one value a binary frame. Integers keep
 * their digits in both directions, and bytes are bytes. What a caller sends is judged before anything is built from it.
 */

/** How a message is written: a binary frame is msgpack, a text frame JSON. */
export type MessageForm = "msgpack" | "json"

/** Nested deeper, a message is refused. Encoders give up at 100. */
const depthMax = 64
/** Values of one message; each takes memory, however few bytes it is sent as. */
const valuesMax = 500_000

/** Lets a 64-bit integer through as a bigint. */
const decoder = new Decoder({ useBigInt64: true })

/**
 * Reads one message; `error` says what is wrong with it.
 *
 *     unpackMessage(Uint8Array.of(0x81, 0xa1, 0x61, 0x01)) // { value: { a: 1 } }
 */
export function unpackMessage(bytes: Uint8Array): { value: unknown } | { error: string } {
  const shapeError = findShapeError(bytes, { depthMax, valuesMax })
  if (shapeError !== null) return { error: shapeError }
  // Of a Buffer the bytes in it would be Buffers, which say something else in JSON.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    return { value: narrow(decoder.decode(plain)) }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** Writes one message. Throws a TypeError for what msgpack cannot say: a function, an integer of more than 64 bits. */
export function packMessage(value: unknown): Uint8Array {
  // An encoder keeps the largest buffer that it ever needed, so it is not kept itself.
  const encoder = new Encoder({ ignoreUndefined: true, useBigInt64: true })
  return encoder.encode(widen(value))
}

/** Integers that a number holds become numbers, as in JSON. */
function narrow(value: unknown): unknown {
  if (typeof value === "bigint") {
    const small = Number(value)
    return Number.isSafeInteger(small) ? small : value
  }
  if (Array.isArray(value)) return value.map(narrow)
  if (!isMap(value)) return value
  for (const key of Object.keys(value)) value[key] = narrow(value[key])
  return value
}

/** The encoder writes a number beyond 32 bits as a float: a seed must stay an integer for whoever reads it. */
function widen(value: unknown): unknown {
  if (typeof value === "bigint") {
    if (value >= -(2n ** 63n) && value < 2n ** 64n) return value
    throw new TypeError(`${value} has more than 64 bits`)
  }
  if (typeof value === "number") {
    const fits32Bits = value >= -0x8000_0000 && value <= 0xffff_ffff
    return Number.isSafeInteger(value) && !fits32Bits ? BigInt(value) : value
  }
  if (Array.isArray(value)) return value.map(widen)
  if (!isMap(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, widen(each)]))
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !ArrayBuffer.isView(value)
}
