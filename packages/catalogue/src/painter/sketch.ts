import { sizeOfSource } from "@tintype/diffusion/pictures"
import sharp from "sharp"
import type { Canvas } from "./canvas/canvas.ts"
import type { PaintJob } from "./job.ts"

/** Each side is painted so much smaller: a 512x512 picture takes about a seventh of the time, encoding included. */
const scale = 4
/** Of a JPEG: there is nothing fine to keep. */
export const sketchQuality = 80

interface Size {
  width: number
  height: number
}

/** The job that is carried out in place of a sketch, and the size that its picture is enlarged to. */
export async function shrinkJob(job: PaintJob): Promise<{ smaller: PaintJob; size: Size | null }> {
  const { wish, source } = job
  if (source === undefined) {
    return { smaller: { ...job, wish: { ...wish, ...shrunk(wish) } }, size: wish }
  }
  const keeps = source.fit === "keep"
  const size = keeps ? await sizeOfSource(source) : wish
  const fit = keeps ? "fill" : source.fit
  const smaller = { ...job, wish: { ...wish, ...shrunk(size) }, source: { ...source, fit } }
  // Made to fit inside, it has a size of its own.
  return { smaller, size: fit === "inside" ? null : size }
}

function shrunk({ width, height }: Size): Size {
  return { width: shrunkSide(width), height: shrunkSide(height) }
}

function shrunkSide(side: number): number {
  return Math.max(Math.min(side, 16), Math.round(side / scale))
}

/** Null: as much larger as it was painted smaller. */
export async function enlarge({ rgb, ...painted }: Canvas, size: Size | null): Promise<Canvas> {
  const { width, height } = size ?? {
    width: painted.width * scale,
    height: painted.height * scale,
  }
  const small = sharp(rgb, { raw: { ...painted, channels: 3 } })
  const large = small.resize(width, height, { fit: "fill", kernel: "cubic" })
  const bytes = await large.raw().toBuffer()
  return { width, height, rgb: new Uint8ClampedArray(bytes.buffer, bytes.byteOffset, bytes.length) }
}
