import { type App, ModelError, respondMessage, type RunContext } from "@tintype/app"
import { packMessage, unpackMessage } from "@tintype/protocol"
import sharp from "sharp"
import { expect, test } from "vitest"
import { z } from "zod"
import { fastLcmDiffusion, fastLightningSdxl, lcmSd15I2i } from "./index.ts"

const Answer = z.looseObject({
  images: z.array(
    z.object({
      content: z.instanceof(Uint8Array),
      width: z.int(),
      height: z.int(),
      content_type: z.string(),
    }),
  ),
  seed: z.int(),
})

const given = await sharp({
  create: { width: 320, height: 200, channels: 3, background: "#c02020" },
})
  .png()
  .toBuffer()

async function ask(app: App, path: string, input: Record<string, unknown>) {
  const context: Partial<RunContext> = {
    endpoint: app.id,
    signal: new AbortController().signal,
    streaming: false,
    fetchMedia: async (url) => {
      if (url !== "given") throw new ModelError("file_download_error")
      return { bytes: given, contentType: "image/png" }
    },
  }
  const data = packMessage(input)
  const message = { path, form: "msgpack", data } as const
  return await respondMessage(app, message, context as RunContext)
}

async function paint(app: App, path: string, input: Record<string, unknown>) {
  const { form, data } = await ask(app, path, input)
  expect(form).toBe("msgpack")
  const read = unpackMessage(data)
  const answer = Answer.parse("value" in read ? read.value : read)
  const [image] = answer.images
  if (image === undefined) throw new Error("no image")
  const { width, height, format } = await sharp(image.content).metadata()
  expect({ width, height, type: `image/${format}` }).toEqual({
    width: image.width,
    height: image.height,
    type: image.content_type,
  })
  return { answer, image }
}

test.each<[string, App, string, Record<string, unknown>, object]>([
  ["text, SDXL Lightning", fastLightningSdxl, "/", { image_size: "square" }, { width: 512 }],
  [
    "text, PNG",
    fastLcmDiffusion,
    "/",
    { image_size: { width: 200, height: 100 }, format: "png" },
    { width: 200, height: 100, content_type: "image/png" },
  ],
  [
    "a picture, made to fit inside",
    fastLcmDiffusion,
    "/image-to-image",
    { image_url: "given", image_size: "square", preserve_aspect_ratio: true },
    { width: 512, height: 320 },
  ],
  [
    "a picture, covering",
    fastLcmDiffusion,
    "/image-to-image",
    { image_url: "given", image_size: "square", crop_output: true },
    { width: 512, height: 512 },
  ],
  [
    "a picture of its own size",
    lcmSd15I2i,
    "/",
    { image_url: "given" },
    { width: 320, height: 200 },
  ],
])("a picture comes as its bytes [%s]", async (_, app, path, input, wanted) => {
  const { image, answer } = await paint(app, path, { prompt: "a lake", seed: 5, ...input })
  expect(image).toMatchObject(wanted)
  expect(answer.seed).toBe(5)
  const again = await paint(app, path, { prompt: "a lake", seed: 5, ...input })
  expect(Buffer.compare(again.image.content, image.content)).toBe(0)
})

test("an answer has what the endpoint's answers have, and the caller's own word", async () => {
  const input = { prompt: "a lake", image_url: "given", num_inference_steps: 2, num_images: 2 }
  const { answer } = await paint(lcmSd15I2i, "/", { ...input, request_id: "stroke 7" })
  expect(answer).toMatchObject({
    request_id: "stroke 7",
    num_inference_steps: 2,
    nsfw_content_detected: [false, false],
    images: { length: 2 },
  })
})

test("a picture that is painted over shines through", async () => {
  const input = { prompt: "a lake", image_url: "given", seed: 1, strength: 0.1 }
  const { image } = await paint(lcmSd15I2i, "/", input)
  const { channels } = await sharp(image.content).stats()
  expect(channels[0]!.mean).toBeGreaterThan(2 * channels[1]!.mean)
})

test("a picture that cannot be had is an error of its field, and the next may be better", async () => {
  const { form, data, failed } = await ask(lcmSd15I2i, "/", { prompt: "a lake", image_url: "no" })
  expect({ form, failed }).toEqual({ form: "json", failed: false })
  expect(JSON.parse(Buffer.from(data).toString())).toMatchObject({
    type: "x-fal-error",
    error: "FILE_DOWNLOAD_ERROR",
    detail: [{ loc: ["body", "image_url"] }],
  })
})
