import sharp, { type Sharp } from "sharp"
import type { Canvas } from "./canvas/canvas.ts"
import { PictureError, type Refusal, type Source } from "./job.ts"

/** The least width and height of a picture to paint over, in pixels. */
const sideMin = 16
/** The longest side that a JPEG can have. */
const sideMax = 65_500

const supported = ["jpeg", "png", "webp", "gif", "avif", "tiff"]

/** Tells a format by its first bytes, so that only raster decoders ever see the caller's bytes. */
function formatOf(bytes: Uint8Array): string | null {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(64, bytes.byteLength))
  const text = head.toString("latin1")
  if (text.startsWith("\xff\xd8\xff")) return "jpeg"
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "png"
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "webp"
  if (text.startsWith("GIF8")) return "gif"
  if (text.slice(4, 8) === "ftyp" && /avif|avis|mif1/.test(text)) return "avif"
  if (text.startsWith("II*\0") || text.startsWith("MM\0*")) return "tiff"
  if (text.startsWith("BM")) return "bmp"
  if (text.trimStart().startsWith("<svg")) return "svg"
  return null
}

function refuse(refusal: Refusal): never {
  throw new PictureError(refusal)
}

interface Opened {
  image: Sharp
  width: number
  height: number
}

async function open(
  bytes: Uint8Array,
  field: Refusal["field"],
  pixelsMax: number,
): Promise<Opened> {
  const unreadable = {
    field,
    type: "image_load_error",
    message: "Could not load the image.",
  } as const
  const format = formatOf(bytes)
  if (format === null) refuse(unreadable)
  if (!supported.includes(format)) {
    const message = `Unsupported image format: ${format}.`
    refuse({
      field,
      type: "unsupported_image_format",
      message,
      ctx: { supported_formats: supported },
    })
  }
  // The header tells the size before a pixel is decoded.
  const header = sharp(bytes, { limitInputPixels: false })
  const found = await header.metadata().catch(() => refuse(unreadable))
  const { width, height } = found.autoOrient
  if (width * height > pixelsMax || Math.max(width, height) > sideMax)
    refuse(tooLarge(field, pixelsMax))
  if (Math.min(width, height) < sideMin) {
    const message = `The image must be at least ${sideMin}x${sideMin} pixels.`
    refuse({
      field,
      type: "image_too_small",
      message,
      ctx: { min_height: sideMin, min_width: sideMin },
    })
  }
  const image = sharp(bytes, { limitInputPixels: pixelsMax, failOn: "error", autoOrient: true })
  return { image, width, height }
}

function tooLarge(field: Refusal["field"], pixelsMax: number): Refusal {
  const side = Math.floor(Math.sqrt(pixelsMax))
  const message = `The image must not have more than ${pixelsMax} pixels, as ${side}x${side} has.`
  return { field, type: "image_too_large", message, ctx: { max_height: side, max_width: side } }
}

/** Throws `PictureError`. */
export async function sizeOfSource({ image, pixelsMax }: Source) {
  const { width, height } = await open(image, "image_url", pixelsMax)
  return { width, height }
}

/** The caller's picture at the size of the output. Throws `PictureError`. */
export async function loadSource(
  source: Source,
  size: { width: number; height: number },
): Promise<Canvas> {
  const field = "image_url"
  const { image, width, height } = await open(source.image, field, source.pixelsMax)
  const flat = image.flatten({ background: "#ffffff" }).toColourspace("srgb")
  const sized =
    source.fit === "keep" || (width === size.width && height === size.height)
      ? flat
      : flat.resize(size.width, size.height, { fit: source.fit, kernel: "lanczos3" })
  const { data, info } = await sized
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch(() => refuse({ field, type: "image_load_error", message: "Could not load the image." }))
  return {
    width: info.width,
    height: info.height,
    rgb: new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength),
  }
}

/** The mask at the picture's size, one byte a pixel. Throws `PictureError`. */
export async function loadMask(
  bytes: Uint8Array,
  size: { width: number; height: number },
  pixelsMax: number,
): Promise<Uint8Array> {
  const field = "mask_url"
  const { image } = await open(bytes, field, pixelsMax)
  return image
    .flatten({ background: "#000000" })
    .resize(size.width, size.height, { fit: "fill", kernel: "linear" })
    .toColourspace("b-w")
    .extractChannel(0)
    .raw()
    .toBuffer()
    .catch(() => refuse({ field, type: "image_load_error", message: "Could not load the mask." }))
}

export interface Box {
  left: number
  top: number
  width: number
  height: number
}

/** The smallest box around what the mask opens; null when it opens nothing. */
export function maskBox(mask: Uint8Array, size: { width: number; height: number }): Box | null {
  let [left, top, right, bottom] = [size.width, size.height, -1, -1]
  for (let row = 0; row < size.height; row++) {
    for (let column = 0; column < size.width; column++) {
      if (mask[row * size.width + column] === 0) continue
      left = Math.min(left, column)
      right = Math.max(right, column)
      top = Math.min(top, row)
      bottom = row
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 }
}
