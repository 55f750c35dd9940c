import { parseEndpointId } from "@tintype/protocol"
import type { z, ZodType } from "zod"
import type { RunContext } from "./context.ts"
import { readRealtime, type RealtimeEndpoint, type RealtimeOptions } from "./realtime/options.ts"
import type { ObjectNode, SchemaNode } from "./schema/node.ts"
import { readSchema } from "./schema/read.ts"
import { UnsupportedSchemaError } from "./schema/unsupported.ts"

/** What the catalogue and the documents say of an endpoint; nothing depends on it. */
export interface EndpointInfo {
  title?: string
  /** One of fal's categories, `text-to-image` … */
  category?: string
  description?: string
  thumbnailUrl?: string
}

/** How an endpoint may be called, beside the queue and a run. */
export interface EndpointDoors {
  /** Served at `{endpoint}/stream` too: what `run` emits, then its answer. */
  stream?: boolean
}

export interface JsonEndpoint<Input extends ZodType = ZodType, Output extends ZodType = ZodType>
  extends EndpointInfo, EndpointDoors {
  /** An object schema. What zod cannot say as Pydantic would is refused when the app is defined. */
  input: Input
  output: Output
  /** The `title` of the input in the documents, where it differs from the schema's name: `BaseInput`. */
  inputName?: string
  outputName?: string
  run(input: z.output<Input>, context: RunContext): Promise<z.input<Output>>
  /** Served at `{endpoint}/realtime` too. */
  realtime?: boolean | RealtimeOptions<z.output<Input>>
}

/** How long things may take, in seconds; where an app does not say, the server's configuration does. */
export interface AppTimeouts {
  /** One attempt; then its signal is aborted, and the caller gets 504 `request_timeout`. Default 3600. */
  requestTimeoutSeconds?: number
  /** A call that waits on the line for a runner of this app. Default 600. */
  startupTimeoutSeconds?: number
}

/** Bytes in, bytes out, untouched: for an endpoint whose input is any JSON. */
export interface RawEndpoint extends EndpointInfo, EndpointDoors {
  raw(input: Uint8Array, context: RunContext): Promise<Uint8Array> | Uint8Array
}

/** An endpoint as the app keeps it: its schemas read once. */
export type AppEndpoint = EndpointInfo &
  EndpointDoors &
  (
    | {
        kind: "json"
        input: ObjectNode
        output: SchemaNode
        inputName?: string
        outputName?: string
        run(input: unknown, context: RunContext): Promise<unknown>
        realtime?: RealtimeEndpoint
      }
    | { kind: "raw"; raw: RawEndpoint["raw"] }
  )

/** Who may call an app: its own account and admins, whoever has a key, or everyone. */
export type AppAuth = "private" | "shared" | "public"

export interface App extends EndpointInfo, AppTimeouts {
  /** On a server that needs keys; `private` when it is absent, `shared` for a built-in app. */
  auth?: AppAuth
  /** `owner/alias`. */
  readonly id: string
  /** By path; `/` is the app itself, `/image-to-image` a call of `owner/alias/image-to-image`. */
  readonly endpoints: ReadonlyMap<string, AppEndpoint>
}

type InputOf<Schema> = Schema extends ZodType ? z.output<Schema> : never
type OutputOf<Schema> = Schema extends ZodType ? z.input<Schema> : never

interface TypedEndpoint<Input, Output> extends EndpointInfo, EndpointDoors {
  input?: Input
  inputName?: string
  outputName?: string
  run?(input: InputOf<Input>, context: RunContext): Promise<OutputOf<Output>>
  realtime?: boolean | RealtimeOptions<InputOf<Input>>
  raw?: RawEndpoint["raw"]
}

export interface AppDefinition<
  Inputs extends Record<string, unknown>,
  Outputs extends { [Path in keyof Inputs]: unknown },
>
  extends EndpointInfo, AppTimeouts {
  id: string
  auth?: AppAuth
  endpoints: { [Path in keyof Inputs]: TypedEndpoint<Inputs[Path], Outputs[Path]> } & {
    [Path in keyof Outputs]: { output?: Outputs[Path] }
  }
}

/**
 * Checks a definition and makes the app that a runner hosts. Throws a TypeError that names what is wrong.
 *
 *     export default defineApp({
 *       id: "local/shout",
 *       endpoints: {
 *         "/": {
 *           input: z.object({ text: z.string().min(1) }),
 *           output: z.object({ text: z.string() }),
 *           run: async ({ text }) => ({ text: text.toUpperCase() }),
 *         },
 *       },
 *     })
 */
export function defineApp<
  Inputs extends Record<string, unknown>,
  Outputs extends { [Path in keyof Inputs]: unknown },
>(definition: AppDefinition<Inputs, Outputs>): App {
  const { id, endpoints: _, ...info } = definition
  checkAppId(id)
  checkTimeouts(definition)
  checkAuth(definition)
  const given: object = definition.endpoints
  const endpoints = new Map<string, AppEndpoint>()
  for (const [path, endpoint] of Object.entries(given)) {
    checkPath(id, path)
    endpoints.set(path, readEndpoint(`${id} ${path}`, endpoint))
  }
  if (endpoints.size === 0) throw new TypeError(`${id}: an app needs at least one endpoint`)
  return { ...info, id, endpoints }
}

function checkAppId(id: string): void {
  const parsed = typeof id === "string" ? parseEndpointId(id) : null
  if (parsed === null || parsed.app !== id) {
    const name = JSON.stringify(id) ?? "undefined"
    throw new TypeError(`app id ${name}: expected owner/alias, or workflows/owner/name`)
  }
}

function checkAuth({ id, auth }: { id: string; auth?: AppAuth }): void {
  const known: unknown[] = [undefined, "private", "shared", "public"]
  if (known.includes(auth)) return
  throw new TypeError(`${id}: auth is ${JSON.stringify(auth)}; expected private, shared or public`)
}

function checkTimeouts({
  id,
  requestTimeoutSeconds,
  startupTimeoutSeconds,
}: AppTimeouts & { id: string }) {
  for (const [name, seconds] of Object.entries({ requestTimeoutSeconds, startupTimeoutSeconds })) {
    if (seconds === undefined || (Number.isFinite(seconds) && seconds > 0)) continue
    throw new TypeError(`${id}: ${name} is ${seconds}; expected seconds above 0`)
  }
}

function checkPath(id: string, path: string): void {
  if (path === "/") return
  const parsed = path.startsWith("/") ? parseEndpointId(id + path) : null
  if (parsed === null || parsed.path !== path) {
    const name = JSON.stringify(path)
    throw new TypeError(`${id}: path ${name}: expected "/" or "/name[/name]", no slash at its end`)
  }
  // The queue reads such a path as the route of a request.
  if (path.startsWith("/requests/")) throw new TypeError(`${id}: path "/requests/…" is reserved`)
}

function readEndpoint(name: string, given: Partial<JsonEndpoint & RawEndpoint>): AppEndpoint {
  const { raw, run, input, output, realtime, ...info } = given
  if (info.stream !== undefined && typeof info.stream !== "boolean") {
    throw new TypeError(`${name}: stream is ${JSON.stringify(info.stream)}; expected true or false`)
  }
  if (raw !== undefined) {
    if ([run, input, output, realtime].some((one) => one !== undefined)) {
      throw new TypeError(`${name}: raw stands alone, without run, input, output or realtime`)
    }
    return { ...info, kind: "raw", raw }
  }
  if (typeof run !== "function") throw new TypeError(`${name}: run or raw is missing`)
  const inputNode = read(`${name} input`, input)
  if (inputNode.kind !== "object") throw new TypeError(`${name} input: expected z.object(…)`)
  const made = { ...info, kind: "json", input: inputNode, run } as const
  const outputNode = read(`${name} output`, output)
  const options = readRealtime(name, realtime, { output: outputNode, run, read })
  return { ...made, output: outputNode, ...(options === undefined ? {} : { realtime: options }) }
}

function read(name: string, schema: ZodType | undefined): SchemaNode {
  if (schema === undefined) throw new TypeError(`${name}: a zod schema is missing`)
  try {
    return readSchema(schema)
  } catch (error) {
    if (!(error instanceof UnsupportedSchemaError)) throw error
    throw new TypeError(`${name}${error.place}: ${error.message}`, { cause: error })
  }
}
