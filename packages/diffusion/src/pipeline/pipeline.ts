import assert from "node:assert/strict"
import type { SchedulerName } from "../job.ts"
import type { Model, Text } from "../model.ts"
import type { Scheduler } from "../scheduler.ts"
import { openScheduler } from "../schedulers/open-scheduler.ts"
import type { Tensor } from "../tensor.ts"
import { joinGuidedText } from "./guidance.ts"
import { runPass } from "./pass.ts"
import type { NoiseSource } from "./seeded-noise.ts"
import type { SourcePicture } from "./source-latents.ts"
import { encodeSource } from "./source-latents.ts"
import type { Size } from "./work-size.ts"

/** What pictures are made of. */
export interface Generation {
  prompt: string
  negativePrompt: string
  steps: number
  /** Up to 1: the prompt alone, in half the time. */
  guidanceScale: number
  /** At which the model works, in pixels: a multiple of its `downscale`. `work-size.ts` finds one. */
  size: Size
  /** One a picture: `new SeededNoise(seed)`. */
  noises: readonly NoiseSource[]
  /** In place of the model's own. */
  scheduler?: SchedulerName | undefined
  source?: SourcePicture | undefined
  /** Pictures that go through the networks together; what is more waits for them. */
  togetherMax?: number | undefined
}

/** Who follows the making. */
export interface Follower {
  /** Looked at before each call of a network; its reason is thrown. */
  signal?: AbortSignal | undefined
  log?(message: string): void
  /** The next step waits for it, and whatever it throws ends the making. */
  onStep?(step: StepReport): void | Promise<void>
}

export interface StepReport {
  /** Steps that are made, of all `steps`: those of pictures that follow later count, too. */
  step: number
  steps: number
  /** Which of the pictures these are, from 0, one after the other. */
  firstPicture: number
  /** `[pictures, channels, height, width]`, as the denoiser sees latents; not to be written to. */
  latents: Tensor
  /** The same without the noise, as far as the denoiser knows by now: for previews. */
  clean: Tensor
}

/** Each picture more takes as much memory again while the denoiser runs, two rows of it with guidance. */
const togetherMaxByDefault = 4

/**
 * Text to image, image to image and inpainting: one picture `[1, 3, height, width]` in -1…1 for each noise. The same arithmetic
 * in the same order as the pipelines of Python's diffusers, so that the same noise gives the same picture
 * (docs/reference/diffusion-parity.md), but that a picture is encoded to the mean of its latents and not to a sample of them: the
 * same call gives the same bytes.
 *
 * Throws a `DiffusionError` for what the model cannot do, and the signal's reason.
 *
 *     const [picture] = await generatePictures(model, {
 *       prompt: "a red boat", negativePrompt: "", steps: 20, guidanceScale: 7.5,
 *       size: { width: 512, height: 512 }, noises: [new SeededNoise("42")],
 *     })
 */
export async function generatePictures(
  model: Model,
  generation: Generation,
  follower: Follower = {},
): Promise<Tensor[]> {
  const { facts } = model
  const { size, steps, noises, guidanceScale, togetherMax = togetherMaxByDefault } = generation
  const height = size.height / facts.downscale
  const width = size.width / facts.downscale
  assert(Number.isInteger(height) && Number.isInteger(width), "a size is a multiple of a latent's")
  const wish = { config: facts.schedulerConfig, name: generation.scheduler, steps }
  const { scheduler, notice } = openScheduler({ ...wish, latentsOfPicture: height * width })
  if (notice !== undefined) follower.log?.(notice)
  const source = await encodeSource(model, generation.source, size, follower.signal)
  const start = source === null ? 0 : startOf(scheduler, source.strength)
  const guided = guidanceScale > 1 && !facts.guidanceEmbedded
  const text = await encodePrompts(model, generation, guided, follower.signal)

  const stepsOfPass = scheduler.timesteps.length - start
  const passes = Math.ceil(noises.length / togetherMax)
  const pictures: Tensor[] = []
  for (let pass = 0; pass < passes; pass++) {
    const firstPicture = pass * togetherMax
    const together = noises.slice(firstPicture, firstPicture + togetherMax)
    const latents = await runPass({
      model,
      scheduler,
      start,
      source,
      noises: together,
      text: joinGuidedText(text, together.length, guided),
      guidanceScale,
      guided,
      dims: [together.length, facts.latentChannels, height, width],
      signal: follower.signal,
      onStep: async (made, report) =>
        await follower.onStep?.({
          step: pass * stepsOfPass + made,
          steps: passes * stepsOfPass,
          firstPicture,
          ...report,
        }),
    })
    pictures.push(...(await decodePictures(model, latents, follower.signal)))
  }
  return pictures
}

async function encodePrompts(
  model: Model,
  { prompt, negativePrompt }: Generation,
  guided: boolean,
  signal: AbortSignal | undefined,
): Promise<Text> {
  signal?.throwIfAborted()
  return await model.encodeText(guided ? [negativePrompt, prompt] : [prompt])
}

/**
 * The first step that is made, so that `strength` of all noise is put on the picture. diffusers cuts the number of steps that
 * are left down to a whole one, but where it matches flows the number of those that are left out.
 */
export function startOf(
  { name, timesteps: { length } }: Pick<Scheduler, "name" | "timesteps">,
  strength: number,
): number {
  const wanted = Math.min(length * Math.min(Math.max(strength, 0), 1), length)
  return name === "flow-match-euler" ? Math.floor(length - wanted) : length - Math.floor(wanted)
}

/** One picture at a time: at full size a picture takes the decoder more memory than everything else. */
async function decodePictures(
  model: Model,
  latents: Tensor,
  signal: AbortSignal | undefined,
): Promise<Tensor[]> {
  const { scale, shift } = model.facts.vae
  const [count = 0, ...dims] = latents.dims
  const length = latents.data.length / count
  const pictures: Tensor[] = []
  for (let at = 0; at < count; at++) {
    signal?.throwIfAborted()
    const data = latents.data.slice(at * length, (at + 1) * length)
    for (let place = 0; place < length; place++) data[place] = (data[place] ?? 0) / scale + shift
    pictures.push(await model.decode({ data, dims: [1, ...dims] }))
  }
  return pictures
}
