import { type App, defineApp, integer } from "@tintype/app"
import { z } from "zod"
import { answerCall } from "./answer-call.ts"
import type { EngineOf } from "./engine.ts"
import { imageOutput, imageSize, sizeOf } from "./image-model.ts"

const LoraWeight = z
  .object({
    path: z.string().describe("Accepted; such weights are not loaded."),
    scale: z.number().min(0).max(1).default(1),
    force: z.boolean().default(false),
  })
  .meta({ title: "LoraWeight" })

export const Embedding = z
  .object({
    path: z.string().describe("Accepted; such weights are not loaded."),
    tokens: z.array(z.string()).default(["<s0>", "<s1>"]),
  })
  .meta({ title: "Embedding" })

function steps(high: number) {
  return z.int().min(1).max(high).default(25).describe("How many steps are taken.")
}

function strength(low: number) {
  return z
    .number()
    .min(low)
    .max(1)
    .default(0.95)
    .describe("How far the picture may move away from the given one.")
}

const words = {
  prompt: z.string().describe("What to paint."),
  negative_prompt: z.string().default("").describe("What the picture must not have."),
  image_size: imageSize("square_hd"),
}

const settings = {
  seed: integer()
    .optional()
    .describe("The same seed and input give the same picture. Drawn at random when absent."),
  guidance_scale: z
    .number()
    .min(0)
    .max(20)
    .default(7.5)
    .meta({ title: "Guidance scale (CFG)" })
    .describe("How strongly the prompt's words weigh."),
  sync_mode: z.boolean().default(false).describe("Answer with data URIs; nothing is stored."),
  num_images: z.int().min(1).max(8).default(1).describe("How many pictures."),
  loras: z.array(LoraWeight).default([]),
  embeddings: z.array(Embedding).default([]),
  enable_safety_checker: z.boolean().default(true).describe("Accepted; no picture is checked."),
  safety_checker_version: z.enum(["v1", "v2"]).default("v1"),
  expand_prompt: z.boolean().default(false).describe("Accepted; prompts are taken as they are."),
  format: z.enum(["jpeg", "png"]).default("jpeg").describe("Format of the pictures."),
  request_id: z.string().default("").describe("A word of the caller's own; it changes nothing."),
}

const imageUrl = z.string().describe("The picture to paint over: a URL or a data URI.")

const textInput = z.object({ ...words, num_inference_steps: steps(50), ...settings })
const imageToImageInput = z.object({
  image_url: imageUrl,
  ...words,
  num_inference_steps: steps(65),
  strength: strength(0.05),
  ...settings,
  preserve_aspect_ratio: z
    .boolean()
    .default(false)
    .describe("Fit the picture inside the size instead of stretching it to the size."),
  crop_output: z
    .boolean()
    .default(false)
    .describe("Cover the size and cut off what is over, instead of stretching."),
})
const inpaintingInput = z.object({
  image_url: imageUrl,
  mask_url: z.string().describe("White is painted over, black stays: a URL or a data URI."),
  ...words,
  num_inference_steps: steps(65),
  strength: strength(0.01),
  ...settings,
})

/** The fast-sdxl family. */
export function defineFastSdxl(engineOf: EngineOf): App {
  return defineApp({
    id: "fal-ai/fast-sdxl",
    endpoints: {
      "/": {
        title: "Stable Diffusion XL",
        category: "text-to-image",
        stream: true,
        description: engineOf("fal-ai/fast-sdxl").description,
        input: textInput,
        inputName: "TextToImageInput",
        output: imageOutput,
        outputName: "Output",
        run: (input, context) =>
          answerCall(engineOf, { ...input, size: sizeOf(input.image_size) }, context),
      },
      "/image-to-image": {
        title: "Stable Diffusion XL: image to image",
        category: "image-to-image",
        stream: true,
        description: engineOf("fal-ai/fast-sdxl/image-to-image").description,
        input: imageToImageInput,
        output: imageOutput,
        run: (input, context) => {
          const fit = input.crop_output ? "cover" : input.preserve_aspect_ratio ? "inside" : "fill"
          const source = { imageUrl: input.image_url, strength: input.strength, fit } as const
          return answerCall(engineOf, { ...input, size: sizeOf(input.image_size), source }, context)
        },
      },
      "/inpainting": {
        title: "Stable Diffusion XL: inpainting",
        category: "image-to-image",
        stream: true,
        description: engineOf("fal-ai/fast-sdxl/inpainting").description,
        input: inpaintingInput,
        output: imageOutput,
        run: (input, context) => {
          const { image_url, mask_url, strength: given } = input
          const source = {
            imageUrl: image_url,
            maskUrl: mask_url,
            strength: given,
            fit: "fill",
          } as const
          return answerCall(engineOf, { ...input, size: sizeOf(input.image_size), source }, context)
        },
      },
    },
  })
}
