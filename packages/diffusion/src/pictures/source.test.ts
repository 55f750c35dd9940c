import sharp from "sharp"
import { expect, test } from "vitest"
import { loadMask, loadSource, sizeOfSource } from "./source.ts"

/** Red on the left half, blue on the right. */
async function twoColours(width = 40, height = 20) {
  const left = { create: { width: width / 2, height, channels: 3, background: "#ff0000" } } as const
  return sharp({ create: { width, height, channels: 3, background: "#0000ff" } }).composite([
    { input: await sharp(left).png().toBuffer(), left: 0, top: 0 },
  ])
}

const pixelsMax = 10_000

test.each(["jpeg", "png", "webp", "gif", "avif", "tiff"] as const)("%s is read", async (format) => {
  const image = await (await twoColours()).toFormat(format).toBuffer()
  const { width, height, rgb } = await loadSource(
    { image, fit: "keep", pixelsMax },
    { width: 1, height: 1 },
  )
  expect({ width, height }).toEqual({ width: 40, height: 20 })
  expect(rgb[0]).toBeGreaterThan(200)
  expect(rgb.at(-1)).toBeGreaterThan(200)
})

test("A picture stands as its EXIF says, before it is measured and cut", async () => {
  const image = await (await twoColours()).withMetadata({ orientation: 6 }).jpeg().toBuffer()
  const source = { image, fit: "keep", pixelsMax } as const
  expect(await sizeOfSource(source)).toEqual({ width: 20, height: 40 })
  const { width, height, rgb } = await loadSource(source, { width: 1, height: 1 })
  expect({ width, height }).toEqual({ width: 20, height: 40 })
  // What was left is above.
  expect(rgb[0]).toBeGreaterThan(200)
  expect(rgb.at(-1)).toBeGreaterThan(200)
})

test.each([
  ["fill", { width: 30, height: 30 }],
  ["cover", { width: 30, height: 30 }],
  ["inside", { width: 30, height: 15 }],
  ["keep", { width: 40, height: 20 }],
] as const)("A picture comes to a size by %s", async (fit, size) => {
  const image = await (await twoColours()).png().toBuffer()
  const { width, height, rgb } = await loadSource(
    { image, fit, pixelsMax },
    { width: 30, height: 30 },
  )
  expect({ width, height }).toEqual(size)
  expect(rgb).toHaveLength(width * height * 3)
})

test("What is transparent is white in a picture and black in a mask", async () => {
  const clear = { r: 0, g: 255, b: 0, alpha: 0 }
  const create = { width: 20, height: 20, channels: 4, background: clear } as const
  const image = await sharp({ create }).png().toBuffer()
  const { rgb } = await loadSource({ image, fit: "keep", pixelsMax }, { width: 20, height: 20 })
  expect([...rgb.subarray(0, 3)]).toEqual([255, 255, 255])
  const mask = await loadMask(image, { width: 10, height: 5 }, pixelsMax)
  expect([...mask]).toEqual(Array.from({ length: 50 }, () => 0))
})

test.each([
  ["nothing", async () => Buffer.alloc(0), "image_load_error"],
  ["text", async () => Buffer.from("hello"), "image_load_error"],
  [
    "a JPEG that ends at once",
    async () => Buffer.from("\xff\xd8\xff\xe0", "latin1"),
    "image_load_error",
  ],
  [
    "an SVG",
    async () => Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "unsupported_image_format",
  ],
  ["a BMP", async () => Buffer.from("BM000000"), "unsupported_image_format"],
  ["one pixel", async () => await (await twoColours(2, 1)).png().toBuffer(), "image_too_small"],
  [
    "too many pixels",
    async () => await (await twoColours(200, 100)).png().toBuffer(),
    "image_too_large",
  ],
] as const)("%s is refused in the words of the API", async (_, make, type) => {
  const image = await make()
  const failed = loadSource({ image, fit: "keep", pixelsMax }, { width: 40, height: 20 })
  await expect(failed).rejects.toMatchObject({ refusal: { field: "image_url", type } })
  const mask = loadMask(image, { width: 40, height: 20 }, pixelsMax)
  await expect(mask).rejects.toMatchObject({ refusal: { field: "mask_url", type } })
})

test("A picture that is cut off in the middle is refused when its pixels are read", async () => {
  const whole = await (await twoColours(80, 80)).jpeg().toBuffer()
  const image = whole.subarray(0, whole.length / 2)
  const failed = loadSource({ image, fit: "keep", pixelsMax }, { width: 40, height: 20 })
  await expect(failed).rejects.toMatchObject({ refusal: { type: "image_load_error" } })
})
