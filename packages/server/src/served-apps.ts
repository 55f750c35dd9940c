import { isAbsolute } from "node:path"
import { pathToFileURL } from "node:url"
import { openapiFor, type App } from "@tintype/app"
import { builtinApps } from "@tintype/catalogue"
import { StartError } from "./data-folder.ts"
import type { AppRow } from "./store.ts"

/** The built-in apps and the modules of the `apps` setting; the runner loads the same ones. */
export async function loadApps(modules: string[]): Promise<App[]> {
  const loaded = await Promise.all(modules.map(loadApp))
  const apps = [...builtinApps, ...loaded]
  const ids = new Set<string>()
  for (const { id } of apps) {
    if (ids.has(id)) throw new StartError("settings", `Two apps have the id ${id}`)
    ids.add(id)
  }
  return apps
}

async function loadApp(module: string): Promise<App> {
  let found: { default?: Partial<App> }
  try {
    found = (await import(moduleUrl(module))) as typeof found
  } catch (cause) {
    throw new StartError("settings", `The app ${module} cannot be loaded: ${String(cause)}`, { cause })
  }
  const app = found.default
  if (typeof app?.id !== "string" || !(app.endpoints instanceof Map)) {
    throw new StartError("settings", `The app ${module} has no default export made by defineApp`)
  }
  return app as App
}

/** What `import` takes: a file's URL, or a package's name as it is. */
export function moduleUrl(module: string): string {
  return isAbsolute(module) ? pathToFileURL(module).href : module
}

/** The row by which the gateway knows an app: nothing of its code, all of its documents. */
export function appRow(app: App): AppRow {
  const ids = new Map([...app.endpoints.keys()].map((path) => [path, endpointId(app.id, path)]))
  return {
    id: app.id,
    endpoints: [...ids.values()],
    openapi: Object.fromEntries([...ids].map(([path, id]) => [id, openapiFor(app, path)])),
    metadata: Object.fromEntries([...ids].map(([path, id]) => [id, metadataOf(app, path, id)])),
    revision: 1,
  }
}

/** `fal-ai/flux` and `/dev` are `fal-ai/flux/dev`. */
function endpointId(app: string, path: string): string {
  return path === "/" ? app : `${app}${path}`
}

function metadataOf(app: App, path: string, id: string): Record<string, unknown> {
  const endpoint = app.endpoints.get(path)!
  return {
    display_name: endpoint.title ?? app.title ?? id,
    category: endpoint.category ?? app.category ?? "unknown",
    description: endpoint.description ?? app.description ?? "",
    status: "active",
    tags: [],
  }
}
