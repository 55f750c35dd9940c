import { openapiFor, type App } from "@tintype/app"
import { importApps } from "@tintype/runner"
import type { ServedApps } from "./served-apps.ts"
import type { AppAuth, AppRow, RealtimeRow } from "../store.ts"

/** Whoever has a key may call the built-in apps; one of somebody's own is private unless it says otherwise. */
const builtIn = import.meta.resolve("@tintype/catalogue")

/**
 * A short-lived process: imports the app modules that it is given and prints their rows as JSON, on the last line of
 * stdout: an app may print while it is loaded, and what it does not print past the console is kept apart anyway.
 */
console.log = console.error
console.info = console.error
const answer = await readApps(process.argv.slice(2))
process.stdout.write(`\n${JSON.stringify(answer)}`, () => process.exit(0))

async function readApps(modules: string[]): Promise<ServedApps> {
  const rows = new Map<string, AppRow>()
  for (const module of modules) {
    let apps: App[]
    try {
      apps = await importApps(module)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      // What the built-in ones object to is a setting, which their message names.
      if (module === builtIn) return { refused: why }
      return { refused: `The app ${module} cannot be loaded: ${why}` }
    }
    for (const app of apps) {
      if (rows.has(app.id)) return { refused: `Two apps have the id ${app.id}` }
      rows.set(app.id, appRow(app, module === builtIn ? "shared" : "private"))
    }
  }
  return { rows: [...rows.values()] }
}

/** The row by which the gateway knows an app: nothing of its code, all of its documents. */
function appRow(app: App, auth: AppAuth): AppRow {
  const ids = new Map([...app.endpoints.keys()].map((path) => [path, endpointId(app.id, path)]))
  return {
    id: app.id,
    endpoints: [...ids.values()],
    streams: [...ids].flatMap(([path, id]) => (app.endpoints.get(path)?.stream === true ? id : [])),
    openapi: Object.fromEntries([...ids].map(([path, id]) => [id, openapiFor(app, path)])),
    metadata: Object.fromEntries([...ids].map(([path, id]) => [id, metadataOf(app, path, id)])),
    timeouts: timeoutsOf(app),
    realtime: realtimeOf(app),
    auth: app.auth ?? auth,
    account: "local",
    revision: 1,
  }
}

function realtimeOf(app: App): Record<string, RealtimeRow> {
  const rows: Record<string, RealtimeRow> = {}
  for (const [path, endpoint] of app.endpoints) {
    if (endpoint.kind !== "json" || endpoint.realtime === undefined) continue
    const { bufferingMax, sessionTimeoutSeconds, exclusive } = endpoint.realtime
    rows[endpointId(app.id, path)] = {
      ...(bufferingMax === undefined ? {} : { inputsMax: bufferingMax }),
      ...(sessionTimeoutSeconds === undefined ? {} : { idleMs: sessionTimeoutSeconds * 1_000 }),
      ...(exclusive ? { exclusive } : {}),
    }
  }
  return rows
}

function timeoutsOf({
  requestTimeoutSeconds,
  startupTimeoutSeconds,
}: App): AppRow["timeouts"] & {} {
  return {
    ...(requestTimeoutSeconds === undefined ? {} : { requestMs: requestTimeoutSeconds * 1_000 }),
    ...(startupTimeoutSeconds === undefined ? {} : { startupMs: startupTimeoutSeconds * 1_000 }),
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
