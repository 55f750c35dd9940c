import type { RunContext } from "@tintype/app"
import type { ImageMessageOutput } from "./image-model.ts"
import { type PaintRequest, prepareJobs, throwModelError } from "./paint-answer.ts"
import { sketchPictures } from "./painter/painter.ts"

/** What every realtime image endpoint does with a valid input: sketches, at once, and answers their bytes. */
export async function paintMessage(
  request: PaintRequest,
  context: RunContext,
): Promise<ImageMessageOutput> {
  const { seed, jobs } = await prepareJobs(request, context)
  const startedAt = performance.now()
  const pictures = await sketchPictures(jobs, context.signal).catch(throwModelError)
  const images = pictures.map(({ bytes: content, width, height, contentType }) => {
    return { content, width, height, content_type: contentType }
  })
  return {
    images,
    timings: { inference: (performance.now() - startedAt) / 1000 },
    seed,
    has_nsfw_concepts: images.map(() => false),
    prompt: request.prompt,
  }
}
