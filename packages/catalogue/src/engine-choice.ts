import { statSync } from "node:fs"
import { isAbsolute, resolve } from "node:path"
import type { App } from "@tintype/app"
import { isHubId, type SchedulerName } from "@tintype/diffusion"
import { z } from "zod"
import type { Engine, EngineOf } from "./engine.ts"
import { createDiffusionEngine, shippedModel } from "./engines/diffusion.ts"
import { painterEngine } from "./engines/painter.ts"

export const schedulerNames = [
  "ddim",
  "euler",
  "dpm-solver++",
  "lcm",
  "flow-match-euler",
] as const satisfies readonly SchedulerName[]

const Setting = z.discriminatedUnion(
  "engine",
  [
    z.strictObject({ engine: z.literal("painter") }),
    z.strictObject({
      engine: z.literal("diffusion"),
      model: z.string(),
      scheduler: z.enum(schedulerNames).exactOptional(),
    }),
  ],
  {
    error: ({ code }) => (code === "invalid_union" ? "must be painter or diffusion" : undefined),
  },
)

/** By the id of an app, for all of its endpoints, or of one endpoint, which goes before. */
export type EngineSettings = Record<string, EngineSetting>
export type EngineSetting = z.output<typeof Setting>

const defaults: EngineSettings = {
  "tintype/miniature": { engine: "diffusion", model: shippedModel },
}

/**
 * Reads `TINTYPE_ENGINES`, in which a server tells its runner what its configuration says: JSON as in
 *
 *     { "fal-ai/fast-sdxl": { "engine": "diffusion", "model": "./models/sdxl", "scheduler": "euler" } }
 *
 * Folders are seen from `cwd`. Throws a `TypeError` of one sentence; that an id is served here is for `checkEngines` to see.
 */
export function readEngines(text: string | undefined, cwd: string): EngineSettings {
  if (text === undefined || text.trim() === "") return {}
  const settings = Object.entries(parseObject(text)).map(([id, given]) => {
    const { data: setting, error } = Setting.safeParse(given)
    if (setting === undefined) throw new TypeError(`engines: ${id}: ${firstOf(error)}`)
    if (setting.engine === "painter") return [id, setting] as const
    return [id, { ...setting, model: findModel(setting.model, cwd, id) }] as const
  })
  return Object.fromEntries(settings)
}

function parseObject(text: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Told below: it is no object either.
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value
  throw new TypeError(`engines: must be an object, by the ids of endpoints; it is ${text}`)
}

function firstOf(error: z.ZodError): string {
  const [issue] = error.issues
  const place = issue?.path.join(".") ?? ""
  return `${place === "" ? "" : `${place}: `}${issue?.message ?? "it cannot be read"}`
}

/** A path that begins with a dot or is absolute is a folder; anything else a hub's `owner/name[@revision]`. */
function findModel(model: string, cwd: string, id: string): string {
  if (model.startsWith(".") || isAbsolute(model)) {
    const folder = resolve(cwd, model)
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) return folder
    throw new TypeError(`engines: ${id}: model: there is no folder ${folder}`)
  }
  if (isHubId(model)) return model
  throw new TypeError(
    `engines: ${id}: model: must be a folder (./folder, /folder) or a hub id (owner/name[@revision]); it is ${JSON.stringify(model)}`,
  )
}

/** The painter where nothing else is said. */
export function chooseEngines(given: EngineSettings): EngineOf {
  const engines = new Map<string, Engine>()
  for (const [id, setting] of Object.entries({ ...defaults, ...given })) {
    engines.set(id, setting.engine === "painter" ? painterEngine : createDiffusionEngine(setting))
  }
  return (endpoint) => {
    const app = endpoint.split("/").slice(0, 2).join("/")
    return engines.get(endpoint) ?? engines.get(app) ?? painterEngine
  }
}

/** Throws a `TypeError` for an id that none of the picture apps serves: its setting would be passed over in silence. */
export function checkEngines(settings: EngineSettings, apps: readonly App[]): void {
  const ids = apps.flatMap(({ id, endpoints }) => [
    id,
    ...[...endpoints.keys()].filter((path) => path !== "/").map((path) => id + path),
  ])
  const strange = Object.keys(settings).find((id) => !ids.includes(id))
  if (strange === undefined) return
  const apart = apps.map(({ id }) => id).join(", ")
  throw new TypeError(`engines: ${strange} is no picture endpoint of the built-in apps: ${apart}`)
}
