import {
  type EncodedPicture,
  encodeRaster,
  loadMask,
  loadSource,
  toDataUri,
} from "@tintype/diffusion/pictures"
import sharp from "sharp"
import { type Canvas, createCanvas } from "./canvas/canvas.ts"
import { type PaintJob, type Picture, type Preview, previewSizeOf, type Source } from "./job.ts"
import { maskBox } from "./mask-box.ts"
import { fillMask, overpaint, surround } from "./overpaint.ts"
import { paintScene, within } from "./paint.ts"
import { Dice } from "./canvas/noise.ts"
import { composeScene, type Scene, type Wish } from "./scene/scene.ts"
import { drawSprite } from "./scene/sprites.ts"
import type { Stamp } from "./scene/stamp.ts"
import { enlarge, shrinkJob, sketchQuality } from "./sketch.ts"

sharp.cache(false)
sharp.concurrency(1)

/** Written into every picture, so that nobody takes it for a model's. */
export const note = "painted procedurally by Tintype; not a model's output"

/** Who follows a job while it is carried out. */
export interface Watcher {
  /** A step is done; `preview` is what is seen by then. */
  onStep(step: number, preview?: Preview): void
  /** Called often; what it throws ends the job. */
  check(): void
}

/** Carries out a job. Throws `PictureError`, and what the watcher throws. */
export async function carryOut(job: PaintJob, watcher: Watcher): Promise<Picture> {
  if (job.sketch !== true) return encode(await paint(job, watcher), job.format)
  const { smaller, size } = await shrinkJob(job)
  return encode(await enlarge(await paint(smaller, watcher), size), job.format, sketchQuality)
}

async function paint(job: PaintJob, watcher: Watcher): Promise<Canvas> {
  const { source } = job
  return source === undefined ? await paintWish(job, watcher) : paintOver(job, source, watcher)
}

async function paintWish(job: PaintJob, watcher: Watcher): Promise<Canvas> {
  const { wish, steps } = job
  const scene = composeScene(wish)
  const canvas = createCanvas(wish.width, wish.height)
  const stamps = await makeStamps(scene, canvas)
  const work = paintScene(scene, canvas, stamps, roughnessOf(steps))
  const previews = job.previews ? await previewWish(wish) : undefined
  await follow(work, steps, watcher, previews)
  return canvas
}

/** Very few steps leave the picture grainy, as a sampler's would be. */
function roughnessOf(steps: number): number {
  return 0.2 / (steps * steps)
}

type Previews = (share: number) => Promise<Preview>

/** Runs the painting and counts its steps: step n of N is done when that share of the work is. */
async function follow(
  work: Generator<number>,
  steps: number,
  watcher: Watcher,
  previews?: Previews,
): Promise<void> {
  let step = 0
  for (const share of work) {
    watcher.check()
    while (step < steps - 1 && share * steps >= step + 1) {
      step++
      watcher.onStep(step, await previews?.(step / steps))
    }
  }
  while (step < steps) {
    step++
    watcher.onStep(step, await previews?.(step / steps))
  }
}

async function previewWish(wish: Wish): Promise<Previews> {
  const { width, height } = previewSizeOf(wish)
  const scene = composeScene(wish)
  const small = createCanvas(width, height)
  const work = paintScene(scene, small, await makeStamps(scene, small), 0)
  while (work.next().done !== true);
  return previewsOf(small, scene.seed, 1)
}

/** The same of a picture that is painted over, which is where its previews come from as well. */
async function previewOver(job: PaintJob, source: Source, canvas: Canvas): Promise<Previews> {
  const small = await shrink(canvas)
  const mask =
    source.mask === undefined ? null : await loadMask(source.mask, small, source.pixelsMax)
  const work = await workOver(job, source, small, mask)
  while (work.next().done !== true);
  return previewsOf(small, composeScene(job.wish).seed, source.strength)
}

async function shrink({ rgb, ...size }: Canvas): Promise<Canvas> {
  const { width, height } = previewSizeOf(size)
  const full = sharp(rgb, { raw: { ...size, channels: 3 }, limitInputPixels: false })
  const small = await full.resize(width, height, { fit: "fill" }).raw().toBuffer()
  return { width, height, rgb: new Uint8ClampedArray(small) }
}

/** Small pictures of the way from noise to the picture, as a sampler's latents would show it. */
function previewsOf(
  { width, height, rgb }: Canvas,
  seed: Scene["seed"],
  noisiness: number,
): Previews {
  const dice = new Dice(seed)
  const noise = Uint8Array.from(rgb, () => dice.next() * 256)
  return async (share) => {
    const left = noisiness * (1 - share) ** 1.5
    const seen = rgb.map((value, at) => value + (noise[at]! - value) * left)
    const url = toDataUri(await encode({ width, height, rgb: seen }, "jpeg", 70))
    return { url, width, height }
  }
}

async function makeStamps(scene: Scene, canvas: Canvas): Promise<Stamp[]> {
  const stamps: Stamp[] = []
  for (const sprite of scene.sprites) {
    const height = Math.max(2, Math.round(sprite.height * canvas.height))
    const drawing = drawSprite(scene, sprite, height)
    const rgba = await sharp(Buffer.from(drawing.svg)).ensureAlpha().raw().toBuffer()
    stamps.push({
      sprite,
      width: drawing.width,
      height,
      rgba,
      left: Math.round(canvas.width / 2 + sprite.x * canvas.height - drawing.width / 2),
      top: Math.round(sprite.y * canvas.height - height),
    })
  }
  return stamps
}

async function paintOver(job: PaintJob, source: Source, watcher: Watcher): Promise<Canvas> {
  const canvas = await loadSource(source, job.wish)
  const mask =
    source.mask === undefined ? null : await loadMask(source.mask, canvas, source.pixelsMax)
  // Before the picture is painted over.
  const previews = job.previews ? await previewOver(job, source, canvas) : undefined
  await follow(await workOver(job, source, canvas, mask), job.steps, watcher, previews)
  return canvas
}

/** Paints over the canvas as the generator is run. */
async function workOver(
  job: PaintJob,
  source: Source,
  canvas: Canvas,
  mask: Uint8Array | null,
): Promise<Generator<number>> {
  const box =
    mask === null
      ? { left: 0, top: 0, width: canvas.width, height: canvas.height }
      : maskBox(mask, canvas)
  if (box === null) return nothing()
  const wish: Wish = { ...job.wish, width: box.width, height: box.height }
  const composed = composeScene(wish)
  const scene = mask === null ? composed : surround(composed, canvas, box)
  const painted = createCanvas(box.width, box.height)
  const stamps = await makeStamps(scene, painted)
  return (function* () {
    yield* within(paintScene(scene, painted, stamps, roughnessOf(job.steps)), 0, 0.6)
    if (mask === null) yield* within(overpaint(scene, canvas, painted, source.strength), 0.6, 1)
    else fillMask(canvas, painted, mask, box, source.strength)
  })()
}

function* nothing(): Generator<number> {
  yield 1
}

async function encode(
  canvas: Canvas,
  format: "jpeg" | "png",
  quality?: number,
): Promise<EncodedPicture> {
  const encoding = { format, note: { description: note, software: "Tintype painter" } }
  return await encodeRaster(canvas, quality === undefined ? encoding : { ...encoding, quality })
}
