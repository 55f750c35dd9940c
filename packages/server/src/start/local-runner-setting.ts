import { stat } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { buildId } from "@tintype/runner/supervision"
import type { Config } from "../config.ts"
import type { DataFolder } from "./data-folder.ts"
import type { Dispatcher } from "../dispatcher/dispatcher.ts"
import { LocalRunner } from "../dispatcher/local-runner.ts"
import { isLoopbackHost } from "./listen.ts"
import { appModules, appVariables, moduleUrl } from "../apps/served-apps.ts"

export interface LocalRunnerSetting {
  config: Config
  folder: DataFolder
  dispatcher: Dispatcher
  /** Where the gateway listens. */
  url: string
  log: (entry: Record<string, unknown>) => void
}

/** The local runner as the configuration wants it. */
export async function makeLocalRunner(setting: LocalRunnerSetting): Promise<LocalRunner> {
  const { config, folder, dispatcher, url, log } = setting
  return new LocalRunner({
    command: {
      socket: folder.socketPath,
      identity: join(folder.path, "runner.json"),
      build: await build(config),
      slots: config.runner.slots ?? availableParallelism(),
      apps: appModules(config.apps),
      ownOrigins: ownOrigins(config, url),
      // Rows that live in memory are gone with this process, so nobody could adopt its runner.
      linkLoss: folder.inMemory ? "exit" : "resume",
      graceMs: config.timing.graceMs,
      allowPrivateTargets: config.allowPrivateTargets ?? isLoopbackHost(config.host),
    },
    secret: folder.secret,
    logFile: join(folder.path, "runner.log"),
    environment: { ...appVariables(config), ...diffusionVariables(config.diffusion) },
    adoptMs: config.timing.adoptMs,
    onExit: (pid) => {
      dispatcher
        .endSessionsWhere((gone) => gone === pid)
        .catch((error: unknown) => log({ event: "session_end_failed", error }))
    },
    log,
  })
}

/** Adopts or starts it, in the background: requests queue meanwhile. */
export function startLocalRunner(
  runner: LocalRunner,
  dispatcher: Dispatcher,
  log: (entry: Record<string, unknown>) => void,
): void {
  runner
    .start()
    // Whatever runner an earlier life had, none but this one is alive.
    .then(() => dispatcher.endSessionsWhere((pid) => pid !== runner.pid))
    .catch((error: unknown) => log({ event: "runner_start_failed", error }))
}

/** What the runner would run: a runner of other code, of other apps or of other settings is not adopted. */
async function build(config: Config): Promise<string> {
  const packages = ["protocol", "app", "diffusion", "catalogue", "runner"]
  const folders = packages.map((name) =>
    dirname(fileURLToPath(import.meta.resolve(`@tintype/${name}`))),
  )
  const apps = config.apps.map(async (app) => {
    const url = moduleUrl(app)
    if (!url.startsWith("file:")) return url
    const { mtimeMs, size } = await stat(fileURLToPath(url))
    return `${url} ${mtimeMs} ${size}`
  })
  const settings = JSON.stringify([
    await Promise.all(apps),
    config.runner.slots,
    config.pace,
    config.engines,
    config.diffusion,
    config.timing.graceMs,
  ])
  return await buildId(settings, folders)
}

/** By the names under which the server's own environment may have them: `unloadAfterMs` is TINTYPE_DIFFUSION_UNLOAD_AFTER_MS. */
function diffusionVariables(diffusion: Config["diffusion"]): Record<string, string> {
  const given = Object.entries(diffusion).filter(([, value]) => value !== null)
  return Object.fromEntries(
    given.map(([key, value]) => {
      const name = key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
      return [`TINTYPE_DIFFUSION_${name}`, String(value)]
    }),
  )
}

function ownOrigins(config: Config, url: string): string[] {
  const { port } = new URL(url)
  const origins = [url, `http://127.0.0.1:${port}`, `http://localhost:${port}`]
  if (config.publicUrl !== null) origins.push(new URL(config.publicUrl).origin)
  return [...new Set(origins)]
}
