import { type App, type AppAnswer, type AppCall, type RunContext, respond } from "@tintype/app"

export type { AppAnswer, AppCall } from "@tintype/app"

/**
 * An app as the runner sees it. What the app has an answer for, a refusal of the input included, it answers;
 * what it throws, it did not plan.
 */
export interface HostedApp {
  /** `owner/alias`. */
  readonly id: string
  respond(call: AppCall, context: RunContext): Promise<AppAnswer>
}

/** Hosts an app of `defineApp` in this process. */
export function hostApp(app: App): HostedApp {
  return { id: app.id, respond: (call, context) => respond(app, call, context) }
}

/**
 * Imports the apps of a module: its `builtinApps`, or what it exports as default, one app or a list. `specifier` is a
 * package's name, a path or a URL. Errors: `TypeError` that names the module when it has no apps.
 */
export async function importApps(specifier: string): Promise<App[]> {
  const module: { builtinApps?: unknown; default?: unknown } = await import(specifier)
  const found = [module.builtinApps ?? module.default].flat()
  if (found.length === 0 || !found.every(isApp)) {
    throw new TypeError(`${specifier} exports no apps, neither builtinApps nor default`)
  }
  return found
}

function isApp(value: unknown): value is App {
  return typeof value === "object" && value !== null && "id" in value && "endpoints" in value
}
