import type { ZodType } from "zod"
import type { RunContext } from "../context.ts"
import type { SchemaNode } from "../schema/node.ts"

/** How an endpoint is served at `{endpoint}/realtime`: each message is a whole input, each input has one answer. */
export interface RealtimeOptions<Input = never> {
  /** Where the answers differ from those of a request: bytes in place of URLs. */
  output?: ZodType
  /** Comes with `output`. */
  run?: (input: Input, context: RunContext) => Promise<unknown>
  /** Inputs that wait while one is worked on; beyond, the oldest is dropped. The server's setting where it is absent. */
  bufferingMax?: number
  /** A caller that sends nothing for so long is told to connect again. The server's setting where it is absent. */
  sessionTimeoutSeconds?: number
  /** A slot of the runner belongs to one caller, from its first input until it goes. */
  exclusive?: boolean
}

/** The same as an app keeps it. */
export interface RealtimeEndpoint {
  output: SchemaNode
  run: (input: unknown, context: RunContext) => Promise<unknown>
  bufferingMax?: number
  sessionTimeoutSeconds?: number
  exclusive: boolean
}

/** Checks what an endpoint says of its realtime; undefined: it has none. Throws a TypeError that begins with `name`. */
export function readRealtime(
  name: string,
  given: boolean | RealtimeOptions | undefined,
  { output, run, read }: Pick<RealtimeEndpoint, "output" | "run"> & ReadOutput,
): RealtimeEndpoint | undefined {
  if (given === undefined || given === false) return undefined
  if (given === true) return { output, run, exclusive: false }
  const { output: ownOutput, run: ownRun, exclusive = false, ...limits } = given
  if ((ownOutput === undefined) !== (ownRun === undefined)) {
    throw new TypeError(`${name} realtime: output and run come together`)
  }
  for (const [limit, value] of Object.entries(limits)) {
    if (Number.isFinite(value) && value > 0) continue
    throw new TypeError(`${name} realtime: ${limit} is ${value}; expected a number above 0`)
  }
  if (ownOutput === undefined || ownRun === undefined) return { output, run, exclusive, ...limits }
  const own = { output: read(`${name} realtime output`, ownOutput), exclusive, ...limits }
  // Its input is what the endpoint's schema gave.
  return { ...own, run: (input, context) => ownRun(input as never, context) }
}

interface ReadOutput {
  read: (name: string, schema: ZodType) => SchemaNode
}
