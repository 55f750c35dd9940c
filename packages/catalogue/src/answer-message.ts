import type { RunContext } from "@tintype/app"
import type { Audience } from "@tintype/diffusion"
import { type PictureRequest, prepareOrder } from "./answer-call.ts"
import type { EngineOf } from "./engine.ts"
import type { ImageMessageOutput } from "./image-model.ts"

/** What every realtime picture endpoint does with a valid input: the bytes, as soon as they are there. */
export async function answerMessage(
  engineOf: EngineOf,
  request: PictureRequest,
  context: RunContext,
): Promise<ImageMessageOutput> {
  const { seed, order } = await prepareOrder(request, context)
  const startedAt = performance.now()
  const { signal } = context
  const audience: Audience = { signal, log() {}, progress() {} }
  const live = { ...order, previews: false, realtime: true }
  const pictures = await engineOf(context.endpoint).makePictures(live, audience)
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
