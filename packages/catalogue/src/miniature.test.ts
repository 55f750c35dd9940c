import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type App, respondMessage } from "@tintype/app"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { chooseEngines } from "./engine-choice.ts"
import { createDiffusionEngine } from "./engines/diffusion.ts"
import { defineFastSdxl } from "./fast-sdxl.ts"
import { defineMiniature } from "./miniature.ts"
import { makeRandomModel } from "./random-model.suite.ts"
import { Answer, call, contextOf, paint, refused } from "./recorder.suite.ts"

const prompt = "a red fish in the sea"
const few = { prompt, seed: 7, num_inference_steps: 2 }

let model: string
let app: App
let sdxl: App
let given: Uint8Array

beforeAll(async () => {
  model = await makeRandomModel()
  const engineOf = chooseEngines({
    "tintype/miniature": { engine: "diffusion", model },
    "fal-ai/fast-sdxl": { engine: "diffusion", model, scheduler: "euler" },
  })
  app = defineMiniature(engineOf)
  sdxl = defineFastSdxl(engineOf)
  const sky = sharp({ create: { width: 90, height: 70, channels: 3, background: "#4080c0" } })
  given = new Uint8Array(await sky.png().toBuffer())
})

afterAll(() => rm(model, { recursive: true, force: true }))

const text = (input: object) => ({ app, path: "/", input: { ...few, ...input } })

async function maskOf(width: number, height: number): Promise<Uint8Array> {
  const left = sharp({
    create: { width: Math.round(width / 2), height, channels: 3, background: "#fff" },
  })
  const whole = sharp({ create: { width, height, channels: 3, background: "#000" } })
  const input = await left.png().toBuffer()
  return new Uint8Array(
    await whole
      .composite([{ input, left: 0, top: 0 }])
      .png()
      .toBuffer(),
  )
}

/** Masks of every size open its left half. */
async function over(path: string, input: object = {}, mask?: Uint8Array) {
  const media = new Map([
    ["given", given],
    ["mask", mask ?? (await maskOf(90, 70))],
  ])
  const urls = { image_url: "given", ...(path === "/inpainting" ? { mask_url: "mask" } : {}) }
  return { app, path, input: { ...few, ...urls, ...input }, media }
}

async function ask(path: string, input: object) {
  const context = contextOf({ app, path, input: {}, media: new Map([["given", given]]) })
  context.streaming = false
  const data = new TextEncoder().encode(JSON.stringify(input))
  const answer = await respondMessage(app, { path, form: "json", data }, context)
  return JSON.parse(new TextDecoder().decode(answer.data)) as {
    images: { content: string; content_type: string }[]
  }
}

describe("Text to image", () => {
  test("A call has the documented defaults [512x512, JPEG, 20 steps]", async () => {
    const { answer, picture, context } = await paint({ app, path: "/", input: { prompt } })
    expect(answer).toMatchObject({ prompt, has_nsfw_concepts: [false], images: { length: 1 } })
    expect(await sharp(picture).metadata()).toMatchObject({
      format: "jpeg",
      width: 512,
      height: 512,
    })
    expect(context.steps).toEqual(Array.from({ length: 20 }, (_, step) => `${step + 1}/20`))
    expect(context.logs).toEqual(expect.arrayContaining(["step 1/20", "step 20/20"]))
    expect(Object.fromEntries(context.answered)).toEqual({ "x-engine": "diffusion" })
    expect(context.units).toBe(1)
  })

  test("The same seed gives the same bytes; another seed, prompt or scheduler gives others", async () => {
    const { picture } = await paint(text({}))
    const bytesOf = async (input: object) => (await paint(text(input))).picture
    expect(Buffer.compare(await bytesOf({}), picture)).toBe(0)
    for (const other of [{ seed: 8 }, { prompt: "a cat" }, { scheduler: "dpm-solver++" }]) {
      expect(Buffer.compare(await bytesOf(other), picture)).not.toBe(0)
    }
  })

  test("Each step shows every picture", async () => {
    const { context, pictures } = await paint(text({ num_images: 2 }))
    expect(pictures).toHaveLength(2)
    expect(Buffer.compare(pictures[0]!, pictures[1]!)).not.toBe(0)
    expect(context.chunks).toHaveLength(2)
    for (const chunk of context.chunks) {
      const { images, seed } = Answer.parse(chunk)
      expect({ seed, images }).toMatchObject({ seed: 7, images: [{ width: 64 }, { width: 64 }] })
      expect(images[0]!.url).toMatch(/^data:image\/jpeg;base64,/)
    }
  })

  test("The configured scheduler is the one of calls that name none", async () => {
    const small = { image_size: { width: 64, height: 64 }, format: "png" }
    const configured = await paint({ app: sdxl, path: "/", input: { ...few, ...small } })
    const named = (scheduler: string) => {
      const { format: output_format, image_size } = small
      return paint(text({ scheduler, output_format, image_size, guidance_scale: 7.5 }))
    }
    expect(Buffer.compare(configured.picture, (await named("euler")).picture)).toBe(0)
    expect(Buffer.compare(configured.picture, (await named("ddim")).picture)).not.toBe(0)
  })
})

describe("Image to image and inpainting", () => {
  test.each(["/image-to-image", "/inpainting"])("keeps the picture's size [%s]", async (path) => {
    const { answer, context } = await paint(await over(path))
    expect(answer.images).toMatchObject([{ width: 90, height: 70 }])
    expect(context.answered.get("x-engine")).toBe("diffusion")
  })

  test("A mask of another size is brought to the picture's; what it closes stays", async () => {
    const masked = await over("/inpainting", { output_format: "png" }, await maskOf(45, 20))
    const { picture } = await paint(masked)
    const { data } = await sharp(picture).raw().toBuffer({ resolveWithObject: true })
    const pixel = (x: number, y: number) => [
      ...data.subarray((y * 90 + x) * 3, (y * 90 + x + 1) * 3),
    ]
    expect(pixel(80, 35)).toEqual([0x40, 0x80, 0xc0])
    expect(pixel(10, 35)).not.toEqual([0x40, 0x80, 0xc0])
  })
})

describe("Realtime", () => {
  test("answers with the bytes of a call with four steps", async () => {
    const { images } = await ask("/", { prompt, seed: 7 })
    const { picture } = await paint(text({ num_inference_steps: 4 }))
    expect(Buffer.compare(Buffer.from(images[0]!.content, "base64"), picture)).toBe(0)
    const asked = await ask("/image-to-image", { ...few, image_url: "given" })
    expect(asked.images).toMatchObject([{ width: 90, height: 70 }])
  })

  test("refuses what is wrong, and the next may be better", async () => {
    const refusal = await ask("/image-to-image", { prompt, image_url: "nowhere" })
    expect(refusal).toMatchObject({ type: "x-fal-error", error: "FILE_DOWNLOAD_ERROR" })
  })
})

describe("What a caller has got wrong is told at its field", () => {
  test("a prompt of 10,000 words", async () => {
    expect(await refused(text({ prompt: "boat ".repeat(10_000) }))).toMatchObject({
      type: "sequence_too_long",
      loc: ["body", "prompt"],
      ctx: { max_length: 10_000 },
    })
  })

  test("a picture of one pixel, a mask that is none", async () => {
    const dot = sharp({ create: { width: 1, height: 1, channels: 3, background: "#888" } })
    const tiny = await over("/image-to-image")
    tiny.media.set("given", new Uint8Array(await dot.png().toBuffer()))
    expect(await refused(tiny)).toMatchObject({
      type: "image_too_small",
      loc: ["body", "image_url"],
    })
    const blank = await over("/inpainting", {}, new TextEncoder().encode("no picture"))
    expect(await refused(blank)).toMatchObject({
      type: "image_load_error",
      loc: ["body", "mask_url"],
    })
  })

  test.each([
    [{ scheduler: "heun" }, "scheduler", "literal_error"],
    [{ num_images: 9 }, "num_images", "less_than_equal"],
    [{ num_inference_steps: 0 }, "num_inference_steps", "greater_than_equal"],
    [{ image_size: { width: 14_142, height: 14_142 } }, "image_size", "image_too_large"],
  ])("%j", async (input, field, type) => {
    const detail = await refused(text(input))
    expect(detail).toMatchObject({ type, loc: ["body", field] })
  })
})

describe("What the operator must mend is told to the operator", () => {
  let broken: string

  beforeAll(async () => {
    broken = await mkdtemp(join(tmpdir(), "tintype-broken-model-"))
  })

  afterAll(() => rm(broken, { recursive: true, force: true }))

  test("a folder that holds no model: the path is in the log and not in the answer", async () => {
    await writeFile(join(broken, "readme.txt"), "no weights yet")
    const notes: string[] = []
    const engine = createDiffusionEngine({ model: broken }, (line) => notes.push(line))
    const { status, text: body } = await call({
      app: defineMiniature(() => engine),
      path: "/",
      input: few,
    })
    expect({ status, body: JSON.parse(body) as unknown }).toMatchObject({
      status: 500,
      body: { detail: [{ type: "internal_server_error", loc: ["body"] }] },
    })
    expect(body).not.toContain(broken)
    expect(notes.join("\n")).toContain(`tintype/miniature: ${broken}`)
  })
})

describe("A scheduler that the model cannot have", () => {
  const flow = { _class_name: "FlowMatchEulerDiscreteScheduler" }
  let matching: string

  beforeAll(async () => {
    matching = await makeRandomModel()
    await writeFile(join(matching, "scheduler/scheduler_config.json"), JSON.stringify(flow))
  })

  afterAll(() => rm(matching, { recursive: true, force: true }))

  test("is the caller's mistake where the call names it, and the setting's where it does not", async () => {
    const notes: string[] = []
    const setting = { model: matching, scheduler: "ddim" } as const
    const engine = createDiffusionEngine(setting, (line) => notes.push(line))
    const flowing = { app: defineMiniature(() => engine), path: "/" }
    const detail = await refused({ ...flowing, input: { ...few, scheduler: "euler" } })
    expect(detail).toMatchObject({ type: "feature_not_supported", loc: ["body", "scheduler"] })
    expect(notes.filter((line) => line.startsWith("tintype/miniature"))).toEqual([])
    const { status } = await call({ ...flowing, input: few })
    expect(status).toBe(500)
    expect(notes.at(-1)).toContain("ddim cannot run a model that was trained for FlowMatch")
  })
})

test("An abort ends the call with its reason, and the next one is not held up", async () => {
  const controller = new AbortController()
  const long = { ...text({ num_inference_steps: 50, num_images: 8 }), signal: controller.signal }
  const context = contextOf(long)
  const reason = new Error("cancelled by the test")
  context.onProgress = (step) => {
    if (step === 2) controller.abort(reason)
  }
  await expect(call(long, context)).rejects.toBe(reason)
  const done = context.steps.length
  await paint(text({ num_inference_steps: 1 }))
  expect(context.steps).toHaveLength(done)
  expect(context.steps.at(-1)).toBe("2/100")
})
