import { type core, z } from "zod"

// An app may bring its own copy of this package; its bytes must be known all the same.
const brand = Symbol.for("tintype.bytes")
const isBytes = Object.assign((value: unknown) => value instanceof Uint8Array, { [brand]: true })

/**
 * Bytes as they are, for realtime: a msgpack message holds them raw, in JSON they are base64.
 *
 *     output: z.object({ content: bytes(), content_type: z.string() })
 */
export function bytes(): z.ZodType<Uint8Array, Uint8Array> {
  return z.custom<Uint8Array>(isBytes)
}

/** Was the schema made by `bytes()`? */
export function isBytesSchema({ fn }: core.$ZodCustomDef): boolean {
  return brand in fn
}
