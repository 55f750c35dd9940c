import { bytes, integer, type RunContext } from "@tintype/app"
import { z } from "zod"

/** What the image endpoints have in common: their schemas, sizes and answers. */

export const ImageSize = z
  .object({
    width: z.int().gt(0).max(14142).default(512).describe("Width of the picture, in pixels."),
    height: z.int().gt(0).max(14142).default(512).describe("Height of the picture, in pixels."),
  })
  .meta({ title: "ImageSize" })

export const Image = z
  .object({
    url: z.string(),
    width: z.int(),
    height: z.int(),
    content_type: z.string().default("image/jpeg"),
  })
  .meta({ title: "Image" })

export const imageOutput = z.object({
  images: z.array(Image).describe("The pictures, in the order of their seeds."),
  timings: z.record(z.string(), z.number()),
  seed: integer().describe(
    "The seed of the first picture, the given one or the one that was drawn.",
  ),
  has_nsfw_concepts: z.array(z.boolean()).describe("One for each picture; none is checked."),
  prompt: z.string().describe("The prompt as it was given."),
})

/** In realtime a picture is its bytes. */
export const imageMessages = z.array(
  z.object({
    content: bytes(),
    width: z.int(),
    height: z.int(),
    content_type: z.string(),
  }),
)

/** What the picture endpoints answer in realtime. */
export const imageMessageOutput = z.object({
  images: imageMessages,
  timings: z.record(z.string(), z.number()),
  seed: integer(),
  has_nsfw_concepts: z.array(z.boolean()),
  prompt: z.string(),
})

const presets = {
  square_hd: { width: 1024, height: 1024 },
  square: { width: 512, height: 512 },
  portrait_4_3: { width: 768, height: 1024 },
  portrait_16_9: { width: 576, height: 1024 },
  landscape_4_3: { width: 1024, height: 768 },
  landscape_16_9: { width: 1024, height: 576 },
} as const

export type Size = { width: number; height: number }
export type SizeName = keyof typeof presets

export function imageSize(preset: SizeName) {
  return z
    .union([
      ImageSize,
      z.enum([
        "square_hd",
        "square",
        "portrait_4_3",
        "portrait_16_9",
        "landscape_4_3",
        "landscape_16_9",
      ]),
    ])
    .default(preset)
    .describe("Size of the picture: a name, or width and height in pixels.")
}

export function sizeOf(size: Size | SizeName): Size {
  return typeof size === "string" ? presets[size] : size
}

export type Input<Schema extends z.ZodType> = z.output<Schema>
export type ImageOutput = z.input<typeof imageOutput>
export type ImageMessageOutput = z.input<typeof imageMessageOutput>
export type { RunContext }
