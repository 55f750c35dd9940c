import type { ZodType } from "zod"
import type { RunContext } from "./context.ts"

/** Skeleton of the public shape; to be completed. */

export interface JsonEndpoint<Input extends ZodType = ZodType, Output extends ZodType = ZodType> {
  input: Input
  output: Output
  run(input: never, context: RunContext): Promise<unknown>
  title?: string
  category?: string
  description?: string
}

/** Bytes in, bytes out, untouched: for an endpoint whose input is any JSON. */
export interface RawEndpoint {
  raw(input: Uint8Array, context: RunContext): Promise<Uint8Array> | Uint8Array
  title?: string
  category?: string
  description?: string
}
