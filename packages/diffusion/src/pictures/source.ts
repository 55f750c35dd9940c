import sharp, { type Sharp } from "sharp"
import { PictureError, type PictureRefusal } from "./picture-error.ts"

/** Pixels of red, green and blue, row by row. */
export interface Raster {
  width: number
  height: number
  rgb: Uint8ClampedArray
}

/** A caller's picture and what may become of it; part of a `Source`. */
export interface GivenPicture {
  /** A file's bytes. */
  image: Uint8Array
  /** How the picture comes to the wished size; `keep` takes the picture's own size instead. */
  fit: "fill" | "inside" | "cover" | "keep"
  pixelsMax: number
}

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

function refuse(refusal: PictureRefusal): never {
  throw new PictureError(refusal)
}

interface Opened {
  image: Sharp
  width: number
  height: number
}

async function open(
  bytes: Uint8Array,
  field: PictureRefusal["field"],
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

function tooLarge(field: PictureRefusal["field"], pixelsMax: number): PictureRefusal {
  const side = Math.floor(Math.sqrt(pixelsMax))
  const message = `The image must not have more than ${pixelsMax} pixels, as ${side}x${side} has.`
  return { field, type: "image_too_large", message, ctx: { max_height: side, max_width: side } }
}

/** Throws `PictureError`. */
export async function sizeOfSource({ image, pixelsMax }: GivenPicture) {
  const { width, height } = await open(image, "image_url", pixelsMax)
  return { width, height }
}

/** The caller's picture at the size of the output. Throws `PictureError`. */
export async function loadSource(
  source: GivenPicture,
  size: { width: number; height: number },
): Promise<Raster> {
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
