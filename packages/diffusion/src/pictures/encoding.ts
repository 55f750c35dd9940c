import sharp from "sharp"
import type { Raster } from "./source.ts"

export interface Encoding {
  format: "jpeg" | "png"
  /** Of a JPEG. */
  quality?: number
  /** Goes with the picture: what it is, and what made it. */
  note: { description: string; software: string }
}

export interface EncodedPicture {
  bytes: Uint8Array<ArrayBuffer>
  width: number
  height: number
  contentType: "image/jpeg" | "image/png"
}

/** Every codec option is named here: the same pixels must give the same bytes. */
export async function encodeRaster(
  { width, height, rgb }: Raster,
  { format, quality = 90, note }: Encoding,
): Promise<EncodedPicture> {
  const raw = sharp(rgb, { raw: { width, height, channels: 3 }, limitInputPixels: false })
  const noted = raw.withExif({
    IFD0: { ImageDescription: note.description, Software: note.software },
  })
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

export function toDataUri({ contentType, bytes }: EncodedPicture): string {
  return `data:${contentType};base64,${Buffer.from(bytes.buffer).toString("base64")}`
}

/** `cover` cuts off what the other shape has no place for, `fill` stretches. */
export async function resize(
  { width, height, rgb }: Raster,
  size: { width: number; height: number },
  fit: "cover" | "fill",
): Promise<Raster> {
  if (width === size.width && height === size.height) return { width, height, rgb }
  const raw = sharp(rgb, { raw: { width, height, channels: 3 }, limitInputPixels: false })
  const sized = raw.resize(size.width, size.height, { fit, kernel: "lanczos3" })
  const data = await sized.raw().toBuffer()
  return { ...size, rgb: new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength) }
}
