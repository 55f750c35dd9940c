import { type App, defineApp, integer } from "@tintype/app"
import { z } from "zod"
import { answerCall } from "./answer-call.ts"
import type { EngineOf } from "./engine.ts"
import { imageOutput, imageSize, sizeOf } from "./image-model.ts"

const fields = {
  prompt: z.string().describe("What to paint."),
  image_size: imageSize("landscape_4_3"),
  seed: integer()
    .nullable()
    .optional()
    .describe("The same seed and input give the same picture. Drawn at random when absent."),
  guidance_scale: z
    .number()
    .min(1)
    .max(20)
    .default(3.5)
    .meta({ title: "Guidance scale (CFG)" })
    .describe("How strongly the prompt's words weigh."),
  sync_mode: z.boolean().default(false).describe("Answer with data URIs; nothing is stored."),
  num_images: z.int().min(1).max(4).default(1).describe("How many pictures."),
  enable_safety_checker: z.boolean().default(true).describe("Accepted; no picture is checked."),
  output_format: z.enum(["jpeg", "png"]).default("jpeg").describe("Format of the pictures."),
  acceleration: z
    .enum(["none", "regular", "high"])
    .default("none")
    .describe("Accepted; there is one speed."),
}

function steps(low: number, high: number, preset: number) {
  return z.int().min(low).max(high).default(preset).describe("How many steps are taken.")
}

const { prompt, image_size, ...others } = fields
const devInput = z.object({ prompt, image_size, num_inference_steps: steps(1, 50, 28), ...others })
const schnellInput = z.object({ num_inference_steps: steps(1, 12, 4), ...fields })
const imageToImageInput = z.object({
  image_url: z.string().describe("The picture to paint over: a URL or a data URI."),
  strength: z
    .number()
    .min(0.01)
    .max(1)
    .default(0.95)
    .describe("How far the picture may move away from the given one."),
  num_inference_steps: steps(10, 50, 40),
  prompt,
  ...others,
})

/** The flux family, `fal-ai/flux/…`. */
export function defineFlux(engineOf: EngineOf): App {
  return defineApp({
    id: "fal-ai/flux",
    endpoints: {
      "/dev": {
        title: "FLUX.1 [dev]",
        category: "text-to-image",
        stream: true,
        description: engineOf("fal-ai/flux/dev").description,
        input: devInput,
        inputName: "BaseInput",
        output: imageOutput,
        outputName: "Output",
        run: (input, context) =>
          answerCall(
            engineOf,
            { ...input, format: input.output_format, size: sizeOf(input.image_size) },
            context,
          ),
      },
      "/schnell": {
        title: "FLUX.1 [schnell]",
        category: "text-to-image",
        stream: true,
        description: engineOf("fal-ai/flux/schnell").description,
        input: schnellInput,
        inputName: "SchnellTextToImageInput",
        output: imageOutput,
        outputName: "Output",
        run: (input, context) =>
          answerCall(
            engineOf,
            { ...input, format: input.output_format, size: sizeOf(input.image_size) },
            context,
          ),
      },
      "/dev/image-to-image": {
        title: "FLUX.1 [dev]: image to image",
        category: "image-to-image",
        stream: true,
        description: engineOf("fal-ai/flux/dev/image-to-image").description,
        input: imageToImageInput,
        output: imageOutput,
        run: (input, context) =>
          answerCall(
            engineOf,
            {
              ...input,
              format: input.output_format,
              source: { imageUrl: input.image_url, strength: input.strength, fit: "keep" },
            },
            context,
          ),
      },
    },
  })
}
