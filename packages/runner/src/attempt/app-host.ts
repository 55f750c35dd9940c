import {
  type App,
  type AppAnswer,
  type AppCall,
  type AppMessage,
  type MessageAnswer,
  type RunContext,
  respond,
  respondMessage,
} from "@tintype/app"

export type { AppAnswer, AppCall, AppMessage, MessageAnswer } from "@tintype/app"

/**
 * An app as the runner sees it. What the app has an answer for, a refusal of the input included, it answers;
 * what it throws, it did not plan.
 */
export interface HostedApp {
  /** `owner/alias`. */
  readonly id: string
  respond(call: AppCall, context: RunContext): Promise<AppAnswer>
  /** One message of a channel. Absent: nothing of it is realtime. */
  respondMessage?(message: AppMessage, context: RunContext): Promise<MessageAnswer>
}

/** Hosts an app of `defineApp` in this process. */
export function hostApp(app: App): HostedApp {
  return {
    id: app.id,
    respond: (call, context) => respond(app, call, context),
    respondMessage: (message, context) => respondMessage(app, message, context),
  }
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
