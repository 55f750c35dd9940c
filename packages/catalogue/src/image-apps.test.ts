import { randomBytes } from "node:crypto"
import { respond } from "@tintype/app"
import sharp from "sharp"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { echo, fastSdxl, flux } from "./index.ts"
import { Answer, type Call, call, contextOf, paint, Recorder, refused } from "./recorder.suite.ts"

async function pixelsOf(bytes: Uint8Array) {
  const { data, info } = await sharp(bytes)
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height, channels: info.channels }
}

async function meanColour(bytes: Uint8Array) {
  const { channels } = await sharp(bytes).stats()
  const [red, green, blue] = channels.map((channel) => channel.mean)
  return { red: red ?? 0, green: green ?? 0, blue: blue ?? 0 }
}

function mean(all: Uint8Array): number {
  return all.reduce((sum, one) => sum + one, 0) / all.length
}

function correlation(a: Uint8Array, b: Uint8Array): number {
  const [ma, mb] = [mean(a), mean(b)]
  let [together, va, vb] = [0, 0, 0]
  for (const [index, one] of a.entries()) {
    const [da, db] = [one - ma, (b[index] ?? 0) - mb]
    together += da * db
    va += da * da
    vb += db * db
  }
  return together / Math.sqrt(va * vb)
}

function distance(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, one, index) => sum + Math.abs(one - (b[index] ?? 0)), 0) / a.length
}

/** How much each preview resembles the picture at its end, as it was given to the caller. */
async function previewsNear(
  context: Recorder,
  end: Uint8Array,
  size: { width: number; height: number },
): Promise<number[]> {
  const near: number[] = []
  for (const chunk of context.chunks) {
    const { images, seed } = Answer.parse(chunk)
    expect({ seed, images }).toMatchObject({ seed: 7, images: [size] })
    const url = images[0]?.url ?? ""
    const bytes = Buffer.from(url.slice(url.indexOf(",") + 1), "base64")
    near.push(correlation((await pixelsOf(bytes)).data, end))
  }
  return near
}

const small = { image_size: { width: 192, height: 144 }, num_inference_steps: 2, seed: 7 }
const dev = (input: Record<string, unknown>): Call => ({ app: flux, path: "/dev", input })

/** A picture with strong forms: a bright disc and a dark bar on a gradient. */
async function givenPicture(width = 200, height = 150): Promise<Uint8Array> {
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<defs><linearGradient id="g"><stop offset="0" stop-color="#203060"/><stop offset="1" stop-color="#90a0b0"/></linearGradient></defs>` +
    `<rect width="100%" height="100%" fill="url(#g)"/><circle cx="70" cy="60" r="40" fill="#ffffff"/>` +
    `<rect x="130" y="20" width="30" height="110" fill="#101010"/></svg>`
  return new Uint8Array(await sharp(Buffer.from(svg)).png().toBuffer())
}

async function colourOf(prompt: string, more: Record<string, unknown> = {}) {
  return meanColour((await paint(dev({ prompt, ...small, ...more }))).picture)
}

/** A fast-sdxl picture with a negative prompt. */
async function paintWithout(negative: string, prompt: string) {
  const input = { prompt, negative_prompt: negative, ...small, format: "png" }
  return (await paint({ app: fastSdxl, path: "/", input })).picture
}

async function deviation(guidance: number): Promise<number> {
  const input = { prompt: "a lighthouse at dusk", ...small, guidance_scale: guidance }
  const { channels } = await sharp((await paint(dev(input))).picture).stats()
  return channels.reduce((sum, channel) => sum + channel.stdev, 0)
}

async function over(input: Record<string, unknown>, app = flux, path = "/dev/image-to-image") {
  const media = new Map([["given", await givenPicture()]])
  const fixed = { prompt: "a forest", image_url: "given", seed: 7, num_inference_steps: 10 }
  return paint({ app, path, input: { ...fixed, ...input }, media })
}

async function cut() {
  return (await givenPicture()).subarray(0, 300)
}

async function spell(words: string) {
  return new TextEncoder().encode(words)
}

beforeEach(() => {
  vi.stubEnv("TINTYPE_PACE", "0")
})
afterEach(() => {
  vi.unstubAllEnvs()
})

describe("Text to image", () => {
  test("The same input and seed give the same bytes; another seed gives others", async () => {
    const input = { prompt: "a lighthouse at dusk", ...small }
    const first = await paint(dev(input))
    const again = await paint(dev(input))
    const other = await paint(dev({ ...input, seed: 8 }))
    expect(Buffer.compare(first.picture, again.picture)).toBe(0)
    expect(Buffer.compare(first.picture, other.picture)).not.toBe(0)
  })

  test("The answer has what the schema promises [jpeg]", async () => {
    const { answer, picture, context } = await paint(dev({ prompt: "a quiet lake", ...small }))
    expect(answer).toMatchObject({ seed: 7, prompt: "a quiet lake", has_nsfw_concepts: [false] })
    expect(answer.images).toMatchObject([{ width: 192, height: 144, content_type: "image/jpeg" }])
    expect(answer.timings["inference"]).toBeGreaterThan(0)
    expect(await sharp(picture).metadata()).toMatchObject({
      format: "jpeg",
      width: 192,
      height: 144,
    })
    expect(context.units).toBe(1)
  })

  test.each(["jpeg", "png"])("A picture says itself that no model made it [%s]", async (format) => {
    const { picture, context } = await paint(dev({ prompt: "a", ...small, output_format: format }))
    const { exif, format: found } = await sharp(picture).metadata()
    expect(found).toBe(format)
    expect(exif?.toString("latin1")).toContain(
      "painted procedurally by Tintype; not a model's output",
    )
    expect(Object.fromEntries(context.answered)).toEqual({
      "x-engine": "painter",
      "x-painter": "procedural",
    })
    expect(context.logs[0]).toContain("not a model's output")
  })

  test("Several pictures have the seeds that follow one another", async () => {
    const prompt = "mountains in fog"
    const both = await paint(dev({ prompt, ...small, num_images: 2 }))
    const second = await paint(dev({ prompt, ...small, seed: 8 }))
    expect(both.pictures).toHaveLength(2)
    expect(both.answer.has_nsfw_concepts).toEqual([false, false])
    expect(Buffer.compare(both.pictures[1] ?? new Uint8Array(), second.picture)).toBe(0)
  })

  test("A seed of 64 bits comes back as it was given", async () => {
    const body = `{"prompt":"a","seed":9223372036854775807,"image_size":"square","num_inference_steps":1}`
    const context = contextOf(dev({}))
    const input = new TextEncoder().encode(body)
    const answer = await respond(flux, { path: "/dev", input }, context)
    expect(new TextDecoder().decode(answer.body)).toContain('"seed":9223372036854775807')
  })

  test("Without a seed each call draws its own", async () => {
    const { seed: _, ...input } = { prompt: "a", ...small }
    const [first, second] = [await paint(dev(input)), await paint(dev(input))]
    expect(first.answer.seed).not.toBe(second.answer.seed)
  })

  test.each([
    ["square_hd", 1024, 1024],
    ["square", 512, 512],
    ["portrait_4_3", 768, 1024],
    ["portrait_16_9", 576, 1024],
    ["landscape_4_3", 1024, 768],
    ["landscape_16_9", 1024, 576],
  ])("A size by name is that many pixels [%s]", async (name, width, height) => {
    const { picture } = await paint(
      dev({ prompt: "fog", image_size: name, num_inference_steps: 1, seed: 1 }),
    )
    expect(await sharp(picture).metadata()).toMatchObject({ width, height })
  })

  test.each([
    [1, 1],
    [3, 700],
    [701, 5],
  ])("Sizes that nobody draws are drawn exactly [%i x %i]", async (width, height) => {
    const prompt = "a lighthouse, a cat and a city by the sea in the rain"
    const { picture } = await paint(dev({ prompt, ...small, image_size: { width, height } }))
    expect(await sharp(picture).metadata()).toMatchObject({ width, height })
  })

  test("With sync_mode the pictures are data URIs and nothing is stored", async () => {
    const { status, text, context } = await call(dev({ prompt: "a", ...small, sync_mode: true }))
    expect(status).toBe(200)
    const url = Answer.parse(JSON.parse(text)).images[0]?.url ?? ""
    expect(url).toMatch(/^data:image\/jpeg;base64,/)
    const bytes = Buffer.from(url.slice(url.indexOf(",") + 1), "base64")
    expect(await sharp(bytes).metadata()).toMatchObject({ width: 192 })
    expect(context.media.size).toBe(0)
  })

  test("A size beyond the pixel limit is refused, and says what is allowed", async () => {
    const input = { prompt: "a", image_size: { width: 14142, height: 14142 } }
    expect(await refused(dev(input))).toMatchObject({
      type: "image_too_large",
      loc: ["body", "image_size"],
      ctx: { max_width: 4096, max_height: 4096 },
    })
  })
})

describe("Words", () => {
  test("Colour words decide the colours", async () => {
    const red = await colourOf("a red abstract")
    const green = await colourOf("a green abstract")
    const blue = await colourOf("a blue abstract")
    expect(red.red).toBeGreaterThan(Math.max(red.green, red.blue) + 15)
    expect(green.green).toBeGreaterThan(Math.max(green.red, green.blue) + 5)
    expect(blue.blue).toBeGreaterThan(Math.max(blue.red, blue.green) + 15)
  })

  test("Hours decide the light: night is darker than day, dusk warmer than both", async () => {
    const [day, dusk, night] = [
      await colourOf("hills by day"),
      await colourOf("hills at dusk"),
      await colourOf("hills at night"),
    ]
    expect(day.green).toBeGreaterThan(night.green + 50)
    expect(dusk.red - dusk.green).toBeGreaterThan(day.red - day.green + 15)
  })

  test("Subjects decide the forms [a lighthouse, the same hour and place without it]", async () => {
    const one = await paint(dev({ prompt: "a lighthouse by the sea at dusk", ...small }))
    const other = await paint(dev({ prompt: "a city by the sea at dusk", ...small }))
    const [a, b] = [await pixelsOf(one.picture), await pixelsOf(other.picture)]
    expect(distance(a.data, b.data)).toBeGreaterThan(10)
  })

  test("A negative prompt takes away [rain, blue]", async () => {
    const blue = await meanColour(await paintWithout("", "an abstract of the blue ocean"))
    const less = await meanColour(await paintWithout("blue", "an abstract of the blue ocean"))
    expect(less.blue - less.red).toBeLessThan(blue.blue - blue.red - 20)
    const rain = await paintWithout("", "a rainy sea at dusk")
    const dry = await paintWithout("rain", "a rainy sea at dusk")
    expect(Buffer.compare(rain, dry)).not.toBe(0)
  })

  test("A higher guidance scale gives more contrast", async () => {
    expect(await deviation(14)).toBeGreaterThan((await deviation(1)) * 1.1)
  })
})

describe("Steps", () => {
  test("Each step is one log line and one progress", async () => {
    const { context } = await paint(dev({ prompt: "a", ...small, num_inference_steps: 28 }))
    const all = Array.from({ length: 28 }, (_, index) => `${index + 1}/28`)
    expect(context.steps).toEqual(all)
    expect(context.logs.slice(1)).toEqual(all.map((step) => `step ${step}`))
  })

  test("Each step shows a small picture, from noise to the picture", async () => {
    const input = { prompt: "a lighthouse at dusk", ...small, num_inference_steps: 8 }
    const { context, picture } = await paint(dev({ ...input, output_format: "png" }))
    const end = (await sharp(picture).resize(64, 48).removeAlpha().raw().toBuffer()).subarray()
    const near = await previewsNear(context, end, { width: 64, height: 48 })
    expect(near).toHaveLength(8)
    expect(near).toEqual(near.toSorted((a, b) => a - b))
    expect(near[0]).toBeLessThan(0.6)
    expect(near[7]).toBeGreaterThan(0.85)
  })

  test("Without a reader no preview is drawn", async () => {
    const given = dev({ prompt: "a", ...small, num_inference_steps: 8 })
    const context = contextOf(given)
    context.streaming = false
    expect((await call(given, context)).status).toBe(200)
    expect(context.steps).toHaveLength(8)
    expect(context.chunks).toEqual([])
  })

  test("A step waits for the reader of its preview", async () => {
    const given = dev({ prompt: "a", ...small, num_inference_steps: 3 })
    const context = contextOf(given)
    const room = Promise.withResolvers<void>()
    const emitted = Promise.withResolvers<void>()
    context.emit = async () => {
      emitted.resolve()
      await room.promise
    }
    const answered = call(given, context)
    await emitted.promise
    expect(context.steps).toEqual(["1/3"])
    room.resolve()
    expect((await answered).status).toBe(200)
    expect(context.steps).toHaveLength(3)
  })

  test("Paced steps take their time [four of at least 50 ms]", async () => {
    vi.stubEnv("TINTYPE_PACE", "1")
    const { answer } = await paint(dev({ prompt: "a", ...small, num_inference_steps: 4 }))
    expect(answer.timings["inference"]).toBeGreaterThan(0.19)
  })

  test("An abort between steps ends the call with its reason at once", async () => {
    vi.stubEnv("TINTYPE_PACE", "1")
    const controller = new AbortController()
    const given = { ...dev({ prompt: "a", ...small, num_inference_steps: 50 }) }
    const context = contextOf({ ...given, signal: controller.signal })
    const reason = new Error("cancelled by the test")
    context.onProgress = (step) => {
      if (step === 3) controller.abort(reason)
    }
    await expect(call(given, context)).rejects.toBe(reason)
    expect(context.steps.at(-1)).toBe("3/50")
  })
})

describe("Image to image", () => {
  test("The given forms stay [even at the default strength]", async () => {
    const { picture, answer } = await over({ output_format: "png" })
    expect(answer.images).toMatchObject([{ width: 200, height: 150, content_type: "image/png" }])
    const given = await pixelsOf(await givenPicture())
    const made = await pixelsOf(picture)
    const noise = new Uint8Array(randomBytes(made.data.length))
    expect(correlation(made.data, given.data)).toBeGreaterThan(0.5)
    expect(Math.abs(correlation(noise, given.data))).toBeLessThan(0.1)
  })

  test("The stronger, the farther from the given picture", async () => {
    const given = await pixelsOf(await givenPicture())
    const far: number[] = []
    for (const strength of [0.05, 0.3, 0.6, 0.95]) {
      const { picture } = await over({ strength, output_format: "png" })
      far.push(distance((await pixelsOf(picture)).data, given.data))
    }
    expect(far).toEqual(far.toSorted((a, b) => a - b))
    expect(far[3]).toBeGreaterThan((far[0] ?? 0) * 3)
  })

  test("The prompt colours the picture", async () => {
    const red = await meanColour((await over({ prompt: "red fire" })).picture)
    const blue = await meanColour((await over({ prompt: "blue ocean" })).picture)
    expect(red.red - red.blue).toBeGreaterThan(blue.red - blue.blue + 40)
  })

  test.each([
    [{}, 256, 256],
    [{ preserve_aspect_ratio: true }, 256, 192],
    [{ crop_output: true }, 256, 256],
  ])("fast-sdxl brings the picture to the asked size [%j]", async (input, width, height) => {
    const size = { image_size: { width: 256, height: 256 }, format: "png" }
    const { answer } = await over({ ...size, ...input }, fastSdxl, "/image-to-image")
    expect(answer.images).toMatchObject([{ width, height }])
  })

  test("Each step shows a small picture, nearer to the picture than the one before", async () => {
    const { context, picture } = await over({ output_format: "png" })
    const end = await sharp(picture).resize(64, 48).removeAlpha().raw().toBuffer()
    const near = await previewsNear(context, end, { width: 64, height: 48 })
    expect(near).toHaveLength(10)
    expect(near).toEqual(near.toSorted((a, b) => a - b))
    expect(near[9]).toBeGreaterThan(0.85)
  })

  test("A grey picture with transparency is a picture too", async () => {
    const grey = sharp({ create: { width: 40, height: 30, channels: 4, background: "#80808040" } })
    const bytes = new Uint8Array(await grey.greyscale().png().toBuffer())
    const media = new Map([["grey", bytes]])
    const input = { prompt: "a", image_url: "grey", num_inference_steps: 10 }
    const { answer } = await paint({ app: flux, path: "/dev/image-to-image", input, media })
    expect(answer.images).toMatchObject([{ width: 40, height: 30 }])
  })
})

describe("Inpainting", () => {
  test("Only what the mask opens changes [PNG, the mask of the output's size]", async () => {
    const image = new Uint8Array(
      await sharp(await givenPicture())
        .resize(128, 128, { fit: "fill" })
        .png()
        .toBuffer(),
    )
    const hole = `<svg xmlns="http://www.w3.org/2000/svg" width="128" height="128"><rect width="128" height="128" fill="#000"/><rect x="32" y="40" width="50" height="60" fill="#fff"/></svg>`
    const mask = new Uint8Array(await sharp(Buffer.from(hole)).png().toBuffer())
    const media = new Map([
      ["image", image],
      ["mask", mask],
    ])
    const input = {
      prompt: "a red flower",
      image_url: "image",
      mask_url: "mask",
      image_size: { width: 128, height: 128 },
      num_inference_steps: 2,
      format: "png",
      seed: 7,
    }
    const { picture, context } = await paint({ app: fastSdxl, path: "/inpainting", input, media })
    const end = await sharp(picture).resize(64, 64).removeAlpha().raw().toBuffer()
    const near = await previewsNear(context, end, { width: 64, height: 64 })
    expect(near).toHaveLength(2)
    expect(near[1]).toBeGreaterThan(0.85)
    const [before, after] = [await pixelsOf(image), await pixelsOf(picture)]
    expect(after.channels).toBe(3)
    let [changedInside, changedOutside] = [0, 0]
    for (let pixel = 0; pixel < 128 * 128; pixel++) {
      const [x, y] = [pixel % 128, Math.floor(pixel / 128)]
      const inside = x >= 32 && x < 82 && y >= 40 && y < 100
      const changed = [0, 1, 2].some(
        (part) => after.data[pixel * 3 + part] !== before.data[pixel * before.channels + part],
      )
      if (changed && inside) changedInside++
      if (changed && !inside) changedOutside++
    }
    expect(changedOutside).toBe(0)
    expect(changedInside).toBeGreaterThan(50 * 60 * 0.9)
  })
})

describe("Pictures that cannot be used", () => {
  const tiny = sharp({ create: { width: 8, height: 8, channels: 3, background: "#888" } })
  const huge = sharp({ create: { width: 5000, height: 4000, channels: 3, background: "#888" } })

  test.each([
    ["nothing there", null, "file_download_error"],
    ["text", async () => spell("not a picture"), "image_load_error"],
    ["a picture cut off", cut, "image_load_error"],
    ["an SVG", async () => spell("<svg xmlns='x'/>"), "unsupported_image_format"],
    ["tiny", async () => new Uint8Array(await tiny.png().toBuffer()), "image_too_small"],
    ["huge", async () => new Uint8Array(await huge.png().toBuffer()), "image_too_large"],
  ] as const)("are refused by name, at their field [%s]", async (_, make, type) => {
    const bytes = await make?.()
    const media = new Map<string, Uint8Array>(bytes === undefined ? [] : [["bad", bytes]])
    const input = { prompt: "a", image_url: "bad" }
    const image = await refused({ app: flux, path: "/dev/image-to-image", input, media })
    expect(image).toMatchObject({ type, loc: ["body", "image_url"] })
    media.set("good", await givenPicture())
    const masked = { prompt: "a", image_url: "good", mask_url: "bad" }
    const mask = await refused({ app: fastSdxl, path: "/inpainting", input: masked, media })
    expect(mask).toMatchObject({ type, loc: ["body", "mask_url"] })
  })
})

describe("Echo", () => {
  test("answers the bytes that it was given, digits and spaces included", async () => {
    const input = new TextEncoder().encode(`{ "a":1.0 ,"b":9223372036854775807,"c":"\\u00e9"}`)
    const context = new Recorder("tintype/echo")
    const answer = await respond(echo, { path: "/", input }, context)
    expect(Buffer.compare(answer.body, input)).toBe(0)
  })
})
