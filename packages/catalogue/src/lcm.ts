import { type App, defineApp, integer } from "@tintype/app"
import { z } from "zod"
import { answerCall, type PictureRequest } from "./answer-call.ts"
import { answerMessage } from "./answer-message.ts"
import type { EngineOf } from "./engine.ts"
import {
  Image,
  imageMessageOutput,
  imageMessages,
  imageOutput,
  imageSize,
  sizeOf,
} from "./image-model.ts"

const prompt = z.string().describe("What to paint.")
const negative_prompt = z.string().default("").describe("What the picture must not have.")
const seed = integer()
  .optional()
  .describe("The same seed and input give the same picture. Drawn at random when absent.")
const sync_mode = z.boolean().describe("Answer with data URIs; nothing is stored.")
const num_images = z.int().min(1).max(8).default(1).describe("How many pictures.")
const checked = z.boolean().default(true).describe("Accepted; no picture is checked.")
const image_url = z.string().describe("The picture to paint over: a URL or a data URI.")
const request_id = z.string().default("").describe("A word of the caller's own; it is given back.")

function steps(high: number, preset: number) {
  return z.int().min(1).max(high).default(preset).describe("How many steps are taken.")
}

function strength(low: number, preset: number) {
  return z
    .number()
    .min(low)
    .max(1)
    .default(preset)
    .describe("How far the picture may move away from the given one.")
}

const words = {
  model_name: z
    .enum(["stabilityai/stable-diffusion-xl-base-1.0", "runwayml/stable-diffusion-v1-5"])
    .default("stabilityai/stable-diffusion-xl-base-1.0")
    .describe("Accepted; the configuration chooses the model."),
  prompt,
}

const settings = {
  seed,
  guidance_scale: z
    .number()
    .min(0)
    .max(20)
    .default(1.5)
    .meta({ title: "Guidance scale (CFG)" })
    .describe("How strongly the prompt's words weigh."),
  sync_mode: sync_mode.default(true),
  num_images,
  enable_safety_checker: checked,
  safety_checker_version: z.enum(["v1", "v2"]).default("v1"),
  expand_prompt: z.boolean().default(false).describe("Accepted; prompts are taken as they are."),
  format: z.enum(["jpeg", "png"]).default("jpeg").describe("Format of the pictures."),
  guidance_rescale: z.number().min(0).max(1).default(0),
  request_id,
}

const textInput = z.object({
  ...words,
  negative_prompt,
  image_size: imageSize("square_hd"),
  num_inference_steps: steps(32, 6),
  ...settings,
})

const imageInput = z.object({
  ...words,
  image_url,
  negative_prompt,
  image_size: imageSize("square_hd"),
  num_inference_steps: steps(32, 6),
  strength: strength(0.05, 0.95),
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

function ofText(input: z.output<typeof textInput>): PictureRequest {
  return { ...input, size: sizeOf(input.image_size) }
}

function ofImage(input: z.output<typeof imageInput>): PictureRequest {
  const fit = input.crop_output ? "cover" : input.preserve_aspect_ratio ? "inside" : "fill"
  const source = { imageUrl: input.image_url, strength: input.strength, fit } as const
  return { ...input, size: sizeOf(input.image_size), source }
}

/** Stable Diffusion in a few steps, for realtime. */
export function defineFastLcmDiffusion(engineOf: EngineOf): App {
  return defineApp({
    id: "fal-ai/fast-lcm-diffusion",
    endpoints: {
      "/": {
        title: "Latent Consistency Models",
        category: "text-to-image",
        description: engineOf("fal-ai/fast-lcm-diffusion").description,
        stream: true,
        input: textInput,
        inputName: "TextToImageLCMInput",
        output: imageOutput,
        outputName: "Output",
        run: (input, context) => answerCall(engineOf, ofText(input), context),
        realtime: {
          output: imageMessageOutput,
          run: (input, context) => answerMessage(engineOf, ofText(input), context),
        },
      },
      "/image-to-image": {
        title: "Latent Consistency Models: image to image",
        category: "image-to-image",
        description: engineOf("fal-ai/fast-lcm-diffusion/image-to-image").description,
        stream: true,
        input: imageInput,
        output: imageOutput,
        run: (input, context) => answerCall(engineOf, ofImage(input), context),
        realtime: {
          output: imageMessageOutput,
          run: (input, context) => answerMessage(engineOf, ofImage(input), context),
        },
      },
    },
  })
}

const lcmInput = z.object({
  prompt,
  image_url,
  strength: strength(0, 0.8),
  negative_prompt,
  seed,
  guidance_scale: z
    .number()
    .min(0)
    .max(16)
    .default(1)
    .describe("How strongly the prompt's words weigh."),
  num_inference_steps: steps(12, 4),
  sync_mode: sync_mode.default(false),
  num_images,
  enable_safety_checks: checked,
  request_id,
})

const told = {
  request_id,
  timings: z.record(z.string(), z.number()),
  seed: integer(),
  num_inference_steps: z.int().default(4),
  nsfw_content_detected: z.array(z.boolean()),
}

function ofPicture(input: z.output<typeof lcmInput>): PictureRequest {
  const source = { imageUrl: input.image_url, strength: input.strength, fit: "keep" } as const
  return { ...input, format: "jpeg", source }
}

function tell(
  { request_id: id, num_inference_steps }: z.output<typeof lcmInput>,
  answer: { timings: Record<string, number>; seed: number | bigint; has_nsfw_concepts: boolean[] },
): z.input<z.ZodObject<typeof told>> {
  const { timings, seed: drawn, has_nsfw_concepts: nsfw_content_detected } = answer
  return { request_id: id, timings, seed: drawn, num_inference_steps, nsfw_content_detected }
}

/** One picture after the other, each painted over one that the caller sends: a canvas that is drawn on. */
export function defineLcmSd15I2i(engineOf: EngineOf): App {
  return defineApp({
    id: "fal-ai/lcm-sd15-i2i",
    endpoints: {
      "/": {
        title: "Latent Consistency Models: SD 1.5, image to image",
        category: "image-to-image",
        description: engineOf("fal-ai/lcm-sd15-i2i").description,
        stream: true,
        input: lcmInput,
        output: z.object({ images: z.array(Image), ...told }),
        run: async (input, context) => {
          const answer = await answerCall(engineOf, ofPicture(input), context)
          return { images: answer.images, ...tell(input, answer) }
        },
        realtime: {
          output: z.object({ images: imageMessages, ...told }),
          run: async (input, context) => {
            const answer = await answerMessage(engineOf, ofPicture(input), context)
            return { images: answer.images, ...tell(input, answer) }
          },
        },
      },
    },
  })
}
