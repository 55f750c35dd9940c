import { PictureError } from "@tintype/diffusion"
import { type Engine, type Order, refuse } from "../engine.ts"
import type { PaintJob } from "../painter/job.ts"
import { paintPictures, sketchPictures } from "../painter/painter.ts"

/** The painter as an engine: procedural, there from the start. In realtime it sketches. */
export const painterEngine: Engine = {
  name: "painter",
  description: "Painted procedurally by Tintype: a stand-in for the model, which knows no weights.",
  headers: { "x-painter": "procedural" },
  async makePictures(order, audience) {
    const jobs = order.seeds.map((seed) => jobOf(order, seed))
    const pictures = order.realtime
      ? sketchPictures(jobs, audience.signal)
      : paintPictures(jobs, audience)
    return await pictures.catch(throwModelError)
  },
}

function jobOf(order: Order, seed: string): PaintJob {
  const { endpoint, prompt, negativePrompt, guidanceScale, size, source } = order
  return {
    wish: { endpoint, prompt, negativePrompt, guidanceScale, seed, ...size },
    steps: order.steps,
    format: order.format,
    previews: order.previews,
    ...(source === undefined ? {} : { source }),
  }
}

function throwModelError(error: unknown): never {
  throw error instanceof PictureError ? refuse(error.refusal) : error
}
