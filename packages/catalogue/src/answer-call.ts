import { randomInt } from "node:crypto"
import { isModelError, ModelError, type RunContext } from "@tintype/app"
import type { Audience, Picture, SchedulerName, Source } from "@tintype/diffusion"
import type { EngineOf, Order } from "./engine.ts"
import type { ImageOutput, Size } from "./image-model.ts"

/** The largest picture, in pixels, given or made: the documented sizes allow 200 million. */
export const pixelsMax = 4096 * 4096

/** The largest file that is fetched to be painted over. */
const sourceBytesMax = 20 * 1024 * 1024

/** What the schemas of all picture endpoints come to. */
export interface PictureRequest {
  prompt: string
  negative_prompt?: string
  guidance_scale: number
  num_inference_steps: number
  num_images: number
  seed?: number | bigint | null | undefined
  format: "jpeg" | "png"
  sync_mode: boolean
  /** Absent: the engine's own. */
  scheduler?: SchedulerName | null | undefined
  /** Absent: the given picture's own. */
  size?: Size
  source?: { imageUrl: string; maskUrl?: string; strength: number; fit: Source["fit"] }
}

/** What every picture endpoint does with a valid input. Throws `ModelError`, or the signal's reason. */
export async function answerCall(
  engineOf: EngineOf,
  request: PictureRequest,
  context: RunContext,
): Promise<ImageOutput> {
  const engine = engineOf(context.endpoint)
  context.header("x-engine", engine.name)
  for (const [name, value] of Object.entries(engine.headers)) context.header(name, value)
  const { seed, order } = await prepareOrder(request, context)
  const startedAt = performance.now()
  const nsfw = order.seeds.map(() => false)
  const secondsSince = () => (performance.now() - startedAt) / 1000
  const audience: Audience = {
    signal: context.signal,
    log: (message) => context.log(message),
    progress: (step, steps) => context.progress(step, steps),
    // Of the answer's own shape, so that whoever reads the stream reads one kind of thing.
    onPreviews: (previews) =>
      context.emit({
        images: previews.map((preview) => ({ ...preview, content_type: "image/jpeg" })),
        timings: { inference: secondsSince() },
        seed,
        has_nsfw_concepts: nsfw,
        prompt: request.prompt,
      }),
  }
  const pictures = await engine.makePictures(order, audience)
  const inference = secondsSince()
  context.billableUnits(pictures.reduce((units, picture) => units + megapixels(picture), 0))
  return {
    images: await Promise.all(
      pictures.map((picture) => deliver(picture, request.sync_mode, context)),
    ),
    timings: { inference },
    seed,
    has_nsfw_concepts: nsfw,
    prompt: request.prompt,
  }
}

/** Draws the seed of the first picture where the caller gave none, and fetches what is painted over. Throws `ModelError`. */
export async function prepareOrder(
  request: PictureRequest,
  context: RunContext,
): Promise<{ seed: number | bigint; order: Order }> {
  refuseHugeSize(request.size)
  const seed = request.seed ?? randomInt(2 ** 32)
  const source = await fetchSource(request, context)
  const { scheduler } = request
  const order: Order = {
    endpoint: context.endpoint,
    prompt: request.prompt,
    negativePrompt: request.negative_prompt ?? "",
    guidanceScale: request.guidance_scale,
    seeds: Array.from({ length: request.num_images }, (_, index) =>
      String(BigInt(seed) + BigInt(index)),
    ),
    steps: request.num_inference_steps,
    // Where none is asked for the picture keeps that of its source.
    size: request.size ?? { width: 1, height: 1 },
    format: request.format,
    previews: context.streaming,
    realtime: false,
    ...(scheduler === undefined || scheduler === null ? {} : { scheduler }),
    ...(source === undefined ? {} : { source }),
  }
  return { seed, order }
}

/** The unit in which such endpoints are charged; begun ones count. */
function megapixels({ width, height }: Picture): number {
  return Math.ceil((width * height) / (1024 * 1024))
}

function refuseHugeSize(size: Size | undefined): void {
  if (size === undefined || size.width * size.height <= pixelsMax) return
  const side = Math.sqrt(pixelsMax)
  throw new ModelError("image_too_large", {
    msg: `The picture must not have more than ${pixelsMax} pixels, as ${side}x${side} has.`,
    loc: ["body", "image_size"],
    ctx: { max_height: side, max_width: side },
    input: size,
  })
}

async function fetchSource(
  { source }: PictureRequest,
  context: RunContext,
): Promise<Source | undefined> {
  if (source === undefined) return undefined
  const { imageUrl, maskUrl, strength, fit } = source
  const [image, mask] = await Promise.all([
    fetchField("image_url", imageUrl, context),
    maskUrl === undefined ? undefined : fetchField("mask_url", maskUrl, context),
  ])
  return { image, strength, fit, pixelsMax, ...(mask === undefined ? {} : { mask }) }
}

const fetchErrors = ["file_download_error", "file_too_large", "image_load_error"] as const

/** `fetchMedia` does not know whose URL it reads: the error gets the field's place here. */
async function fetchField(field: string, url: string, context: RunContext): Promise<Uint8Array> {
  try {
    return (await context.fetchMedia(url, { bytesMax: sourceBytesMax })).bytes
  } catch (error) {
    if (context.signal.aborted || !isModelError(error)) throw error
    const { type, msg, ctx } = error.item
    const details = { msg, loc: ["body", field], input: url, retryable: error.retryable }
    throw new ModelError(fetchErrors.find((known) => known === type) ?? "file_download_error", {
      ...details,
      ...(ctx === undefined ? {} : { ctx: { ...ctx } }),
      cause: error,
    })
  }
}

async function deliver(
  picture: Picture,
  inline: boolean,
  context: RunContext,
): Promise<ImageOutput["images"][number]> {
  const { bytes, width, height, contentType } = picture
  const url = inline
    ? `data:${contentType};base64,${Buffer.from(bytes.buffer).toString("base64")}`
    : (await context.file(bytes, contentType)).url
  return { url, width, height, content_type: contentType }
}
