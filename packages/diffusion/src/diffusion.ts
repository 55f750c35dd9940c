import { isAbsolute, resolve } from "node:path"
import { DiffusionError } from "./diffusion-error.ts"
import { Hub, isHubId } from "./hub/hub.ts"
import type { Audience, Job, Picture } from "./job.ts"
import { promptCharactersMax } from "./limits.ts"
import { readSettings, type Settings } from "./settings.ts"
import type { LoadedModel } from "./thread/order.ts"
import { DiffusionThread } from "./thread/thread.ts"

/** A model that was asked for since the start. */
export interface ModelReport {
  /** As jobs name it. */
  model: string
  loaded: boolean
  /** What its weights take in memory. */
  bytes: number
}

/** Models by their names, and the thread that runs them. A process has one: see `generate`. */
export class Diffusion {
  readonly #thread: DiffusionThread
  readonly #hub: Hub
  readonly #asked = new Set<string>()

  /** `onModels` is told whenever what is in memory has changed. */
  constructor(settings: Settings, onModels?: (models: readonly LoadedModel[]) => void) {
    this.#thread = new DiffusionThread(settings, onModels)
    this.#hub = new Hub({ ...settings.hub, cacheFolder: settings.cacheFolder })
  }

  /** Throws a `DiffusionError`, or the reason of the signal. */
  async generate(job: Job, audience: Audience): Promise<Picture[]> {
    checkPrompt("prompt", job.prompt)
    checkPrompt("negative_prompt", job.negativePrompt)
    const folder = await this.#folderOf(job.model, audience)
    this.#asked.add(job.model)
    return await this.#thread.carryOut(job, folder, audience)
  }

  describeModels(): ModelReport[] {
    return [...this.#asked].map((model) => {
      const found = this.#thread.models.find((one) => one.model === model)
      return { model, loaded: found !== undefined, bytes: found?.bytes ?? 0 }
    })
  }

  /** Ends the thread; what it works on fails. */
  async close(): Promise<void> {
    await this.#thread.close()
  }

  async #folderOf(model: string, audience: Audience): Promise<string> {
    if (!isAbsolute(model) && isHubId(model)) return await this.#hub.fetch(model, audience)
    return resolve(model)
  }
}

function checkPrompt(field: "prompt" | "negative_prompt", text: string): void {
  if (text.length <= promptCharactersMax) return
  throw new DiffusionError({
    type: "sequence_too_long",
    field,
    message: `The prompt must not have more than ${promptCharactersMax} characters.`,
    ctx: { max_length: promptCharactersMax },
  })
}

let chosen: Partial<Settings> = {}
let shared: Diffusion | undefined
let watcher: (models: readonly LoadedModel[]) => void = () => {}

/**
 * Settings in place of the environment's, before the first job: `configureDiffusion({ provider: "cuda" })`. Throws an `Error`
 * when there was one.
 */
export function configureDiffusion(settings: Partial<Settings>): void {
  if (shared !== undefined) throw new Error("diffusion is configured before its first job")
  chosen = { ...chosen, ...settings }
}

/**
 * Makes the pictures of a job in the thread of this process. Throws a `DiffusionError`, or the reason of the signal.
 *
 *     const [picture] = await generate({ ...job, model: miniatureFolder, prompt: "a red circle" }, audience)
 */
export async function generate(job: Job, audience: Audience): Promise<Picture[]> {
  const settings = { ...readSettings(process.env), ...chosen }
  shared ??= new Diffusion(settings, (models) => watcher(models))
  return await shared.generate(job, audience)
}

/** Has `onModels` told whenever a model was loaded or unloaded, in place of who was told before. */
export function watchModels(onModels: (models: readonly LoadedModel[]) => void): void {
  watcher = onModels
}

/** The models that this process was asked for, and what they take. */
export function describeModels(): ModelReport[] {
  return shared?.describeModels() ?? []
}
