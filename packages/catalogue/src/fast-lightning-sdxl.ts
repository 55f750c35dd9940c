import { type App, defineApp, integer } from "@tintype/app"
import { z } from "zod"
import { answerCall, type PictureRequest } from "./answer-call.ts"
import { answerMessage } from "./answer-message.ts"
import type { EngineOf } from "./engine.ts"
import { Embedding } from "./fast-sdxl.ts"
import { imageMessageOutput, imageOutput, imageSize, sizeOf } from "./image-model.ts"

const stepTexts = z.enum(["1", "2", "4", "8"]).describe("How many steps are taken.")

const input = z.object({
  prompt: z.string().describe("What to paint."),
  image_size: imageSize("square_hd"),
  // The documents say a text and have a number for its default; both reach `Number`.
  num_inference_steps: stepTexts.default(4 as never),
  seed: integer()
    .optional()
    .describe("The same seed and input give the same picture. Drawn at random when absent."),
  sync_mode: z.boolean().default(false).describe("Answer with data URIs; nothing is stored."),
  num_images: z.int().min(1).max(8).default(1).describe("How many pictures."),
  embeddings: z.array(Embedding).default([]),
  enable_safety_checker: z.boolean().default(true).describe("Accepted; no picture is checked."),
  safety_checker_version: z.enum(["v1", "v2"]).default("v1"),
  expand_prompt: z.boolean().default(false).describe("Accepted; prompts are taken as they are."),
  format: z.enum(["jpeg", "png"]).default("jpeg").describe("Format of the pictures."),
  guidance_rescale: z.number().min(0).max(1).default(0),
  request_id: z.string().default("").describe("A word of the caller's own; it is given back."),
})

/** The schema has no guidance scale: such a model is made for none. */
function ofText(given: z.output<typeof input>): PictureRequest {
  const num_inference_steps = Number(given.num_inference_steps)
  return { ...given, num_inference_steps, guidance_scale: 1, size: sizeOf(given.image_size) }
}

/** SDXL in very few steps, for realtime. */
export function defineFastLightningSdxl(engineOf: EngineOf): App {
  return defineApp({
    id: "fal-ai/fast-lightning-sdxl",
    endpoints: {
      "/": {
        title: "Stable Diffusion XL Lightning",
        category: "text-to-image",
        description: engineOf("fal-ai/fast-lightning-sdxl").description,
        stream: true,
        input,
        inputName: "TextToImageLightningInput",
        output: imageOutput,
        outputName: "Output",
        run: (given, context) => answerCall(engineOf, ofText(given), context),
        realtime: {
          output: imageMessageOutput,
          run: (given, context) => answerMessage(engineOf, ofText(given), context),
        },
      },
    },
  })
}
