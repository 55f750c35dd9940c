import { type App, defineApp, integer, type RunContext } from "@tintype/app"
import { z } from "zod"
import { answerCall, type PictureRequest } from "./answer-call.ts"
import { answerMessage } from "./answer-message.ts"
import type { EngineOf } from "./engine.ts"
import { imageMessageOutput, imageOutput, imageSize, sizeOf } from "./image-model.ts"

/** Steps of a call that says nothing of them; in realtime the next input is waiting. */
const stepsPreset = 20
const liveStepsPreset = 4

const words = {
  prompt: z.string().describe("What the picture shows: “a red circle left of a blue house”."),
  negative_prompt: z.string().default("").describe("What the picture must not show."),
}

const settings = {
  num_inference_steps: z
    .int()
    .min(1)
    .max(50)
    .nullable()
    .optional()
    .describe(
      `How many steps are taken: ${stepsPreset} when absent, ${liveStepsPreset} in realtime.`,
    ),
  seed: integer()
    .nullable()
    .optional()
    .describe("The same seed and input give the same picture. Drawn at random when absent."),
  guidance_scale: z
    .number()
    .min(1)
    .max(20)
    .default(4)
    .meta({ title: "Guidance scale (CFG)" })
    .describe("How strongly the prompt weighs; 1 is without guidance, in half the time."),
  // Those whose noise schedule a model of this kind was trained for.
  scheduler: z
    .enum(["ddim", "euler", "dpm-solver++"])
    .nullable()
    .optional()
    .describe("How the steps are taken; the model's own when absent."),
  sync_mode: z.boolean().default(false).describe("Answer with data URIs; nothing is stored."),
  num_images: z.int().min(1).max(8).default(1).describe("How many pictures."),
  enable_safety_checker: z.boolean().default(true).describe("Accepted; no picture is checked."),
  output_format: z.enum(["jpeg", "png"]).default("jpeg").describe("Format of the pictures."),
}

const strength = z
  .number()
  .min(0.01)
  .max(1)
  .default(0.8)
  .describe("How far the picture may move away from the given one.")

const textInput = z.object({ ...words, image_size: imageSize("square"), ...settings })
const imageInput = z.object({
  image_url: z
    .string()
    .describe("The picture to start from, whose size is kept: a URL or a data URI."),
  ...words,
  strength,
  ...settings,
})
const inpaintingInput = z.object({
  image_url: z.string().describe("The picture, whose size is kept: a URL or a data URI."),
  mask_url: z
    .string()
    .describe(
      "White is made anew, black stays; brought to the picture's size: a URL or a data URI.",
    ),
  ...words,
  strength,
  ...settings,
})

type Settings = z.output<typeof textInput | typeof imageInput | typeof inpaintingInput>

function requestOf(input: Settings, steps: number): PictureRequest {
  const num_inference_steps = input.num_inference_steps ?? steps
  const request = { ...input, num_inference_steps, format: input.output_format }
  if ("image_size" in input) return { ...request, size: sizeOf(input.image_size) }
  const { image_url: imageUrl, strength: given } = input
  const mask = "mask_url" in input ? { maskUrl: input.mask_url } : {}
  return { ...request, source: { imageUrl, ...mask, strength: given, fit: "keep" } }
}

/** The model that comes with Tintype: 128 pixels a side, trained on drawn scenes, diffused for real. */
export function defineMiniature(engineOf: EngineOf): App {
  const run = (input: Settings, context: RunContext) =>
    answerCall(engineOf, requestOf(input, stepsPreset), context)
  const realtime = {
    output: imageMessageOutput,
    // A processor takes longer for a picture than a hand for a stroke: what waits is the newest input.
    bufferingMax: 1,
    run: (input: Settings, context: RunContext) =>
      answerMessage(engineOf, requestOf(input, liveStepsPreset), context),
  }
  const doors = { stream: true, output: imageOutput, run, realtime }
  return defineApp({
    id: "tintype/miniature",
    endpoints: {
      "/": {
        ...doors,
        title: "Miniature",
        category: "text-to-image",
        description: engineOf("tintype/miniature").description,
        input: textInput,
        inputName: "TextToImageInput",
        outputName: "Output",
      },
      "/image-to-image": {
        ...doors,
        title: "Miniature: image to image",
        category: "image-to-image",
        description: engineOf("tintype/miniature/image-to-image").description,
        input: imageInput,
      },
      "/inpainting": {
        ...doors,
        title: "Miniature: inpainting",
        category: "image-to-image",
        description: engineOf("tintype/miniature/inpainting").description,
        input: inpaintingInput,
      },
    },
  })
}
