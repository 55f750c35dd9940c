import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import sharp from "sharp"
import { afterEach, describe, expect, test } from "vitest"
import { Diffusion } from "./diffusion.ts"
import { openStandInHub } from "./hub/stand-in-hub.suite.ts"
import type { Audience, Job, Preview } from "./job.ts"
import { tinyFiles, type TinyModel, writeTinyModel } from "./onnx/tiny-model.suite.ts"
import { readSettings, type Settings } from "./settings.ts"

const runtime = await import("onnxruntime-node").catch(() => null)
if (runtime === null) console.warn("skipped: onnxruntime-node is not installed")

const closing: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

function open(settings: Partial<Settings> = {}): Diffusion {
  const diffusion = new Diffusion({ ...readSettings({}), threads: 1, ...settings })
  closing.push(() => diffusion.close())
  return diffusion
}

async function write(wish: TinyModel = {}): Promise<string> {
  const folder = await writeTinyModel(wish)
  closing.push(() => rm(folder, { recursive: true }))
  return folder
}

async function jobOf(wanted: Partial<Job> = {}): Promise<Job> {
  return {
    model: wanted.model ?? (await write()),
    prompt: "a b",
    negativePrompt: "",
    seeds: ["1"],
    steps: 4,
    guidanceScale: 2,
    size: { width: 96, height: 64 },
    format: "png",
    previews: false,
    ...wanted,
  }
}

interface Watching extends Audience {
  lines: string[]
  steps: string[]
}

function watch(more: Partial<Audience> = {}): Watching {
  const lines: string[] = []
  const steps: string[] = []
  return {
    signal: new AbortController().signal,
    lines,
    steps,
    log: (message) => void lines.push(message),
    progress: (step, count) => void steps.push(`${step}/${count}`),
    ...more,
  }
}

async function pixelsOf(bytes: Uint8Array): Promise<Buffer> {
  return await sharp(bytes).raw().toBuffer()
}

async function pictureOf(width: number, height: number, background: string): Promise<Buffer> {
  return await sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer()
}

describe.skipIf(runtime === null)("a job", () => {
  test("becomes pictures of the size and the format that were asked, step by step", async () => {
    const watching = watch()
    const job = await jobOf({ seeds: ["1", "2"], format: "jpeg" })
    const pictures = await open().generate(job, watching)
    expect(pictures).toHaveLength(2)
    for (const { bytes, width, height, contentType } of pictures) {
      expect({ width, height, contentType }).toEqual({
        width: 96,
        height: 64,
        contentType: "image/jpeg",
      })
      expect(await sharp(bytes).metadata()).toMatchObject({ format: "jpeg", width: 96, height: 64 })
    }
    expect(watching.steps).toEqual(["1/4", "2/4", "3/4", "4/4"])
    expect(watching.lines).toEqual([
      expect.stringMatching(/^loading tiny-model-\w+$/),
      expect.stringMatching(/^loaded tiny-model-\w+ in \d+\.\d s, 0\.0 MB$/),
      "step 1/4",
      "step 2/4",
      "step 3/4",
      "step 4/4",
    ])
  })

  test("gives the same bytes for the same seed, whatever is made beside it, in another thread, too", async () => {
    const job = await jobOf({ seeds: ["7"] })
    const [alone] = await open().generate(job, watch())
    const diffusion = open()
    const [other, again] = await diffusion.generate({ ...job, seeds: ["8", "7"] }, watch())
    expect(Buffer.compare(again!.bytes, alone!.bytes)).toBe(0)
    expect(Buffer.compare(other!.bytes, alone!.bytes)).not.toBe(0)
  })

  test("shows previews, and waits until they are taken", async () => {
    const seen: Preview[][] = []
    let taking = 0
    const watching = watch({
      onPreviews: async (previews) => {
        taking++
        expect(watching.steps).toHaveLength(seen.length + 1)
        await new Promise((done) => setTimeout(done, 20))
        expect(taking).toBe(seen.push(previews))
      },
    })
    const files = { "model_index.json": JSON.stringify({ tintype: { latent_to_rgb: colours } }) }
    const model = await write({ files })
    await open().generate(await jobOf({ model, seeds: ["1", "2"], previews: true }), watching)
    expect(seen.map((previews) => previews.length)).toEqual([2, 2, 2, 2])
    const [first] = seen[0]!
    expect(first).toMatchObject({ width: 64, height: 43 })
    expect(first?.url).toMatch(/^data:image\/jpeg;base64,/)
    const bytes = Buffer.from(first!.url.split(",")[1]!, "base64")
    expect(await sharp(bytes).metadata()).toMatchObject({ width: 64, height: 43 })
  })

  test("that nobody looks at goes on nevertheless, and so do those behind it", async () => {
    const files = { "model_index.json": JSON.stringify({ tintype: { latent_to_rgb: colours } }) }
    const job = await jobOf({ model: await write({ files }), previews: true })
    let shown = 0
    const watching = watch({
      onPreviews: async () => {
        shown++
        await new Promise(() => undefined)
      },
    })
    const diffusion = open()
    const ignored = diffusion.generate(job, watching)
    expect(await diffusion.generate(job, watch())).toHaveLength(1)
    expect(await ignored).toHaveLength(1)
    expect(watching.steps).toHaveLength(4)
    expect(shown).toBe(1)
  }, 20_000)

  const colours = {
    weights: [
      [1, 0, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 1, 0],
    ],
    bias: [0, 0, 0],
  }

  test("that paints under a mask leaves the caller's other pixels as they are", async () => {
    const image = await pictureOf(40, 40, "#20a0e0")
    const half = await pictureOf(20, 40, "white")
    const mask = await sharp(await pictureOf(40, 40, "black"))
      .composite([{ input: half, left: 20, top: 0 }])
      .png()
      .toBuffer()
    const source = { image, mask, strength: 1, fit: "keep", pixelsMax: 1e6 } as const
    const [picture] = await open().generate(await jobOf({ source }), watch())
    const rows = await pixelsOf(picture!.bytes)
    expect(picture).toMatchObject({ width: 40, height: 40 })
    expect([...rows.subarray(0, 20 * 3)]).toEqual(
      Array.from({ length: 20 }, () => [0x20, 0xa0, 0xe0]).flat(),
    )
    expect([...rows.subarray(20 * 3, 40 * 3)]).not.toContain(0xe0)
  })

  test("that starts from a picture keeps of it what its strength leaves", async () => {
    const image = await pictureOf(64, 64, "#ff0000")
    const source = { image, strength: 0, fit: "keep", pixelsMax: 1e6 } as const
    const [picture] = await open().generate(await jobOf({ source }), watch())
    const [red = 0, green = 255] = await pixelsOf(picture!.bytes)
    expect([red, green]).toEqual([255, 0])
  })

  test("that is aborted frees the thread within a step", async () => {
    const controller = new AbortController()
    const diffusion = open()
    const watching = watch({
      signal: controller.signal,
      progress: (step) => {
        watching.steps.push(String(step))
        if (step === 3) controller.abort(new Error("not wanted"))
      },
    })
    const job = await jobOf({ steps: 900 })
    const aborted = diffusion.generate(job, watching)
    const next = diffusion.generate({ ...job, steps: 2 }, watch())
    await expect(aborted).rejects.toThrow("not wanted")
    expect(await next).toHaveLength(1)
    expect(watching.steps).toEqual(["1", "2", "3"])
  })

  test("that waits and is aborted is never begun; one whose audience fails ends", async () => {
    const diffusion = open()
    const job = await jobOf({
      previews: true,
      model: await write({
        files: { "model_index.json": JSON.stringify({ tintype: { latent_to_rgb: colours } }) },
      }),
    })
    const controller = new AbortController()
    const failing = watch({
      onPreviews: async () => {
        throw new Error("nobody there")
      },
    })
    const first = diffusion.generate(job, failing)
    const waiting = watch({ signal: controller.signal })
    const second = diffusion.generate(job, waiting)
    // Both are asked for before either is decided.
    await Promise.resolve()
    controller.abort(new Error("not wanted"))
    await expect(second).rejects.toThrow("not wanted")
    await expect(first).rejects.toThrow("nobody there")
    expect(failing.steps).toEqual(["1/4"])
    expect(await diffusion.generate(job, watch())).toHaveLength(1)
    expect(waiting.lines).toEqual([])
  })

  test("fails with a thread that ends, and the next one has another", async () => {
    const diffusion = open()
    const job = await jobOf({ steps: 900 })
    const ends = watch({ progress: () => void diffusion.close() })
    await expect(diffusion.generate(job, ends)).rejects.toThrow("the diffusion thread ended")
    expect(await diffusion.generate({ ...job, steps: 2 }, watch())).toHaveLength(1)
  })
})

describe.skipIf(runtime === null)("a model", () => {
  test("is described while it is loaded, and goes when nobody uses it", async () => {
    const diffusion = open({ unloadAfterMs: 300 })
    const job = await jobOf()
    expect(diffusion.describeModels()).toEqual([])
    await diffusion.generate(job, watch())
    const [described] = diffusion.describeModels()
    expect(described).toEqual({ model: job.model, loaded: true, bytes: expect.any(Number) })
    expect(described?.bytes).toBeGreaterThan(500)
    await expect
      .poll(() => diffusion.describeModels(), { timeout: 5_000 })
      .toEqual([{ model: job.model, loaded: false, bytes: 0 }])
  })

  test("of a hub is fetched, then loaded", async () => {
    const cacheFolder = await mkdtemp(join(tmpdir(), "models-"))
    closing.push(() => rm(cacheFolder, { recursive: true }))
    const hub = await openStandInHub({ id: "owner/tiny", revision: "main", files: tinyFiles() })
    closing.push(() => hub.close())
    const diffusion = open({ cacheFolder, hub: { url: hub.url } })
    const watching = watch()
    expect(await diffusion.generate(await jobOf({ model: "owner/tiny" }), watching)).toHaveLength(1)
    expect(watching.lines[0]).toMatch(/^fetching owner\/tiny from http/)
    expect(watching.lines).toContain("loading owner/tiny")
    expect(diffusion.describeModels()).toMatchObject([{ model: "owner/tiny", loaded: true }])
  })
})

describe.skipIf(runtime === null)("what cannot be done is refused", () => {
  test("a folder that is not there, by its path", async () => {
    const failed = open().generate(await jobOf({ model: "/nowhere" }), watch())
    await expect(failed).rejects.toMatchObject({
      name: "DiffusionError",
      refusal: { type: "model_fault", message: "/nowhere: the folder is missing" },
    })
  })

  test("a scheduler that nobody knows, by its name", async () => {
    const files = { "scheduler/scheduler_config.json": '{"_class_name": "WhimScheduler"}' }
    const failed = open().generate(await jobOf({ model: await write({ files }) }), watch())
    await expect(failed).rejects.toMatchObject({ refusal: { type: "model_fault" } })
    await expect(failed).rejects.toThrow("WhimScheduler")
  })

  test.each(["prompt", "negativePrompt"] as const)("a %s of ten thousand words", async (key) => {
    const job = await jobOf({ [key]: "word ".repeat(10_000) })
    await expect(open().generate(job, watch())).rejects.toMatchObject({
      refusal: {
        type: "sequence_too_long",
        field: key === "prompt" ? "prompt" : "negative_prompt",
        ctx: { max_length: 10_000 },
      },
    })
  })

  test("nothing of a prompt that is only longer than the encoder reads: a line says so", async () => {
    const watching = watch()
    await open().generate(await jobOf({ prompt: "a b c ".repeat(200) }), watching)
    expect(watching.lines.filter((line) => line.includes("77 tokens"))).toHaveLength(1)
  })

  test("a picture of one pixel", async () => {
    const image = await pictureOf(1, 1, "white")
    const source = { image, strength: 0.5, fit: "keep", pixelsMax: 1e6 } as const
    await expect(open().generate(await jobOf({ source }), watch())).rejects.toMatchObject({
      name: "DiffusionError",
      refusal: { type: "image_too_small", field: "image_url", ctx: { min_height: 16 } },
    })
  })
})
