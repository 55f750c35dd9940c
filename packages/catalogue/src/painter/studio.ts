import sharp from "sharp"
import { type Canvas, createCanvas } from "./canvas/canvas.ts"
import { type PaintJob, type Picture, previewSizeOf, type Source } from "./job.ts"
import { fillMask, overpaint, surround } from "./overpaint.ts"
import { paintScene, within } from "./paint.ts"
import { Dice } from "./canvas/noise.ts"
import { composeScene, type Scene, type Wish } from "./scene/scene.ts"
import { loadMask, loadSource, maskBox } from "./source.ts"
import { drawSprite } from "./scene/sprites.ts"
import type { Stamp } from "./scene/stamp.ts"

sharp.cache(false)
sharp.concurrency(1)

/** Written into every picture, so that nobody takes it for a model's. */
export const note = "painted procedurally by Tintype; not a model's output"

/** Who follows a job while it is carried out. */
export interface Watcher {
  /** A step is done; `preview` is a data URI of what is seen by then. */
  onStep(step: number, preview?: string): void
  /** Called often; what it throws ends the job. */
  check(): void
}

/** Carries out a job. Throws `PictureError`, and what the watcher throws. */
export async function carryOut(job: PaintJob, watcher: Watcher): Promise<Picture> {
  const { source } = job
  const canvas =
    source === undefined ? await paintWish(job, watcher) : await paintOver(job, source, watcher)
  return encode(canvas, job.format)
}

async function paintWish(job: PaintJob, watcher: Watcher): Promise<Canvas> {
  const { wish, steps } = job
  const scene = composeScene(wish)
  const canvas = createCanvas(wish.width, wish.height)
  const stamps = await makeStamps(scene, canvas)
  const work = paintScene(scene, canvas, stamps, roughnessOf(steps))
  const previews = job.previews ? await openPreviews(wish) : undefined
  await follow(work, steps, watcher, previews)
  return canvas
}

/** Very few steps leave the picture grainy, as a sampler's would be. */
function roughnessOf(steps: number): number {
  return 0.2 / (steps * steps)
}

type Previews = (share: number) => Promise<string>

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

/** Small pictures of the way from noise to the picture, as a sampler's latents would show it. */
async function openPreviews(wish: Wish): Promise<Previews> {
  const { width, height } = previewSizeOf(wish)
  const scene = composeScene(wish)
  const small = createCanvas(width, height)
  const work = paintScene(scene, small, await makeStamps(scene, small), 0)
  while (work.next().done !== true);
  const dice = new Dice(scene.seed)
  const noise = Uint8Array.from(small.rgb, () => dice.next() * 256)
  return async (share) => {
    const left = (1 - share) ** 1.5
    const seen = small.rgb.map((value, at) => value + (noise[at]! - value) * left)
    const { bytes } = await encode({ width, height, rgb: seen }, "jpeg", 70)
    return `data:image/jpeg;base64,${Buffer.from(bytes.buffer).toString("base64")}`
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
  const box =
    mask === null
      ? { left: 0, top: 0, width: canvas.width, height: canvas.height }
      : maskBox(mask, canvas)
  if (box === null) {
    await follow(nothing(), job.steps, watcher)
    return canvas
  }
  const wish: Wish = { ...job.wish, width: box.width, height: box.height }
  const composed = composeScene(wish)
  const scene = mask === null ? composed : surround(composed, canvas, box)
  const painted = createCanvas(box.width, box.height)
  const stamps = await makeStamps(scene, painted)
  const work = function* () {
    yield* within(paintScene(scene, painted, stamps, roughnessOf(job.steps)), 0, 0.6)
    if (mask === null) yield* within(overpaint(scene, canvas, painted, source.strength), 0.6, 1)
    else fillMask(canvas, painted, mask, box, source.strength)
  }
  await follow(work(), job.steps, watcher)
  return canvas
}

function* nothing(): Generator<number> {
  yield 1
}

/** Every codec option is named here: the same pixels must give the same bytes. */
async function encode(canvas: Canvas, format: "jpeg" | "png", quality = 90): Promise<Picture> {
  const { width, height } = canvas
  const raw = sharp(canvas.rgb, { raw: { width, height, channels: 3 }, limitInputPixels: false })
  const noted = raw.withExif({ IFD0: { ImageDescription: note, Software: "Tintype painter" } })
  const encoded =
    format === "png"
      ? noted.png({
          compressionLevel: 6,
          adaptiveFiltering: true,
          palette: false,
          progressive: false,
        })
      : noted.jpeg({
          quality,
          chromaSubsampling: "4:4:4",
          mozjpeg: false,
          progressive: false,
          optimiseCoding: true,
        })
  const bytes = new Uint8Array(await encoded.toBuffer())
  return { bytes, width, height, contentType: format === "png" ? "image/png" : "image/jpeg" }
}
