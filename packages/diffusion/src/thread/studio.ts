import sharp from "sharp"
import type { Job, Picture, Preview } from "../job.ts"
import { previewSide } from "../limits.ts"
import type { ModelFacts } from "../model.ts"
import { encodeRaster, resize, toDataUri } from "../pictures/encoding.ts"
import { blend, fromTensor, maskToTensor, toTensor } from "../pictures/pixels.ts"
import { loadMask, loadSource, type Raster } from "../pictures/source.ts"
import { latentToRgbOf, previewLatents } from "../pipeline/latent-preview.ts"
import { generatePictures, type StepReport } from "../pipeline/pipeline.ts"
import { SeededNoise } from "../pipeline/seeded-noise.ts"
import { type Size, workSize } from "../pipeline/work-size.ts"
import type { StoppableModel } from "./stoppable-model.ts"

sharp.cache(false)
sharp.concurrency(1)

const note = { description: "made by a diffusion model", software: "Tintype" }
const previewQuality = 70

/** Who follows a job while it is carried out. */
export interface Watcher {
  log(message: string): void
  /** The next step waits for it; what it throws ends the job. */
  onStep(step: number, steps: number, previews?: Preview[]): Promise<void>
}

/** The caller's picture and mask at the size of the output. */
interface Given {
  picture: Raster
  mask?: Uint8Array
}

/**
 * From the job to its pictures: the caller's picture is brought to the size at which the model works, and what the model makes
 * to the size that was asked. Throws `PictureError`, `DiffusionError`, and what the model or the watcher throws.
 */
export async function carryOut(
  model: StoppableModel,
  job: Job,
  watcher: Watcher,
): Promise<Picture[]> {
  const { source, seeds } = job
  const given = source === undefined ? null : await loadGiven(source, job.size)
  const size = given === null ? job.size : sizeOf(given.picture)
  const working = workSize(size, model.facts)
  // A picture that is painted over keeps its shape on the way there and back; one from nothing is cut instead.
  const fit = given === null ? "cover" : "fill"
  const previewsOf = job.previews ? makePreviews(model.facts, size, fit) : null
  const pictures = await generatePictures(
    model,
    {
      prompt: job.prompt,
      negativePrompt: job.negativePrompt,
      steps: job.steps,
      guidanceScale: job.guidanceScale,
      size: working,
      noises: seeds.map((seed) => new SeededNoise(seed)),
      scheduler: job.scheduler,
      source:
        given === null || source === undefined
          ? undefined
          : { ...(await atWork(given, working)), strength: source.strength },
    },
    {
      log: (message) => watcher.log(message),
      onStep: async (report) => {
        await watcher.onStep(report.step, report.steps, await previewsOf?.(report))
      },
    },
  )
  const finished: Picture[] = []
  for (const picture of pictures) {
    // A picture of 4096 x 4096 takes seconds to enlarge and to encode, and a call may have eight.
    model.check()
    const made = await resize(fromTensor(picture), size, fit)
    const whole = given?.mask === undefined ? made : blend(given.picture, made, given.mask)
    finished.push(await encodeRaster(whole, { format: job.format, note }))
  }
  return finished
}

async function loadGiven(source: NonNullable<Job["source"]>, size: Size): Promise<Given> {
  const picture = await loadSource(source, size)
  if (source.mask === undefined) return { picture }
  return { picture, mask: await loadMask(source.mask, picture, source.pixelsMax) }
}

function sizeOf({ width, height }: Raster): Size {
  return { width, height }
}

async function atWork({ picture, mask }: Given, size: Size) {
  const small = toTensor(await resize(picture, size, "fill"))
  if (mask === undefined) return { picture: small }
  const raw = { width: picture.width, height: picture.height, channels: 1 } as const
  const shrunk = await sharp(mask, { raw, limitInputPixels: false })
    .resize(size.width, size.height, { fit: "fill", kernel: "linear" })
    .extractChannel(0)
    .raw()
    .toBuffer()
  return { picture: small, mask: maskToTensor(shrunk, size.width, size.height) }
}

/** Of all pictures that were begun, each as it looks by now; null where the latents' colours are unknown. */
function makePreviews(facts: ModelFacts, output: Size, fit: "cover" | "fill") {
  const colours = latentToRgbOf(facts)
  if (colours === null) return null
  const shrink = previewSide / Math.max(output.width, output.height)
  const size = {
    width: Math.max(1, Math.round(output.width * shrink)),
    height: Math.max(1, Math.round(output.height * shrink)),
  }
  const previews: Preview[] = []
  return async ({ clean, firstPicture }: StepReport): Promise<Preview[]> => {
    const [count = 0, , height = 0, width = 0] = clean.dims
    const length = clean.data.length / count
    for (let at = 0; at < count; at++) {
      const latents = clean.data.subarray(at * length, (at + 1) * length)
      const small = { width, height, rgb: previewLatents(latents, colours) }
      const picture = await encodeRaster(await resize(small, size, fit), {
        format: "jpeg",
        quality: previewQuality,
        note,
      })
      previews[firstPicture + at] = { url: toDataUri(picture), ...size }
    }
    return [...previews]
  }
}
