import { rm } from "node:fs/promises"
import { afterEach, describe, expect, test } from "vitest"
import type { Tensor } from "../tensor.ts"
import { embedGuidance } from "./denoiser.ts"
import { encodeGraph } from "./onnx-file.suite.ts"
import { type OnnxModel, openModel } from "./open-model.ts"
import { tinyFiles, type TinyModel, writeTinyModel } from "./tiny-model.suite.ts"

const execution = { provider: "cpu", threads: 1 } as const
const runtime = await import("onnxruntime-node").catch(() => null)
if (runtime === null) console.warn("skipped: onnxruntime-node is not installed")

const folders: string[] = []
const models: OnnxModel[] = []

afterEach(async () => {
  for (const model of models.splice(0)) await model.close()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function write(wish: TinyModel = {}): Promise<string> {
  const folder = await writeTinyModel(wish)
  folders.push(folder)
  return folder
}

async function open(wish: TinyModel = {}): Promise<OnnxModel> {
  const model = await openModel(await write(wish), execution)
  models.push(model)
  return model
}

function tensor(dims: readonly number[], valueAt: (at: number) => number = () => 0): Tensor {
  const length = dims.reduce((product, dim) => product * dim, 1)
  return { data: Float32Array.from({ length }, (_, at) => valueAt(at)), dims }
}

/** The ids of the tiny vocabulary. */
const [letterB, begin, end] = [6, 10, 11]
/** "b": begun, ended and filled up with the ending, as a mean of thousandths. */
const meanOfB = (letterB + begin + 75 * end) / 77 / 1000

describe.skipIf(runtime === null)("a model's folder", () => {
  test("says what the pipeline must know", async () => {
    const latentToRgb = {
      weights: [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
      ],
      bias: [0, 0, 0.5],
    }
    const index = JSON.stringify({ tintype: { latent_to_rgb: latentToRgb } })
    const model = await open({ files: { "model_index.json": index } })
    expect(model.facts).toMatchObject({
      latentChannels: 4,
      inputChannels: 4,
      downscale: 8,
      nativeSide: 64,
      latentMultiple: 2,
      vae: { scale: 0.5, shift: 0 },
      guidanceEmbedded: false,
      latentToRgb,
    })
    expect(model.facts.schedulerConfig["_class_name"]).toBe("DDIMScheduler")
    const files = tinyFiles()
    const names = ["text_encoder/model.onnx", "unet/model.onnx", "unet/config.json"]
    const loaded = [...names, "vae_decoder/model.onnx", "vae_decoder/config.json"]
    expect(model.bytes).toBe(loaded.reduce((sum, name) => sum + files[name]!.length, 0))
  })

  test("without configurations is taken for Stable Diffusion's", async () => {
    const model = await open({
      files: {
        "unet/config.json": null,
        "vae_decoder/config.json": null,
        "model_index.json": null,
      },
    })
    expect(model.facts).toMatchObject({
      inputChannels: 4,
      downscale: 8,
      nativeSide: 512,
      latentMultiple: 8,
      vae: { scale: 0.18215, shift: 0 },
    })
  })

  const timesteps = {
    "a scalar of int64": { name: "timestep", type: "int64", shape: [] },
    "one float": { name: "timestep", type: "float32", shape: [1] },
    "one of int32": { name: "timestep", type: "int32", shape: ["steps"] },
    "float16 for each row": { name: "timestep", type: "float16", shape: ["batch"] },
  } as const

  test.each(Object.entries(timesteps))(
    "is run as it was exported [timestep: %s]",
    async (_, timestep) => {
      const model = await open({ timestep })
      const text = await model.encodeText(["b", "b"])
      const latents = tensor([2, 4, 8, 8], (at) => at % 7)
      const { data, dims } = await model.denoise(latents, 500, text)
      expect(dims).toEqual([2, 4, 8, 8])
      for (const [at, value] of data.entries()) {
        expect(value).toBeCloseTo((at % 7) / 2 + meanOfB + 0.5, 4)
      }
    },
  )

  test.each([
    ["int32", "float32", 5],
    ["int64", "float16", 3],
  ] as const)("is run as it was exported [ids: %s, floats: %s]", async (ids, floats, digits) => {
    const model = await open({ ids, floats })
    const text = await model.encodeText(["b"])
    expect(text.hidden.dims).toEqual([1, 77, 4])
    expect(text.hidden.data[0]).toBeCloseTo(begin / 1000, 5)
    const latents = tensor([1, 4, 2, 3], (at) => at / 8)
    const { data } = await model.denoise(latents, 250, text)
    expect(data[20]).toBeCloseTo(20 / 16 + meanOfB + 0.25, digits)
    const picture = await model.decode(latents)
    expect(picture.dims).toEqual([1, 3, 16, 24])
    expect(picture.data.at(-1)).toBeCloseTo(17 / 8, digits)
  })

  test("has an encoder for pictures, of means or of means and variances, loaded by the first one", async () => {
    const means: Tensor[] = []
    for (const encodedChannels of [4, 8]) {
      const model = await open({ encodedChannels })
      const before = model.bytes
      means.push(await model.encode(tensor([2, 3, 16, 16], (at) => (at % 16 < 8 ? 1 : -1))))
      expect(model.bytes).toBeGreaterThan(before)
    }
    expect(means[0]?.dims).toEqual([2, 4, 2, 2])
    expect([...means[0]!.data.subarray(0, 4)]).toEqual([1, -1, 1, -1])
    expect(means[1]).toEqual(means[0])
  })

  test("without an encoder for pictures cannot start from one; with a cut one it is at fault", async () => {
    const pictures = tensor([1, 3, 16, 16])
    const without = await open({ files: { "vae_encoder/model.onnx": null } })
    await expect(without.encode(pictures)).rejects.toMatchObject({
      refusal: { type: "feature_not_supported", field: "image_url" },
    })
    const broken = await open({ files: { "vae_encoder/model.onnx": "hello" } })
    await expect(broken.encode(pictures)).rejects.toThrow(
      /vae_encoder\/model\.onnx: cannot be loaded/,
    )
  })

  test("whose VAE makes other sizes than its configuration says is at fault, by file", async () => {
    const files = { "vae_decoder/config.json": '{"block_out_channels": [8, 8, 8]}' }
    const model = await open({ files })
    await expect(model.decode(tensor([1, 4, 2, 2]))).rejects.toThrow(
      /vae_decoder\/model\.onnx: gives 1x3x16x16 instead of 1x3x8x8; block_out_channels/,
    )
    const failed = model.encode(tensor([1, 3, 16, 16]))
    await expect(failed).rejects.toThrow(
      /vae_encoder\/model\.onnx: gives 1x4x2x2 instead of 1x4x4x4/,
    )
    await expect(failed).rejects.toMatchObject({ refusal: { type: "model_fault" } })
  })

  test("of SDXL joins the layers before the last of both encoders, and tells the size", async () => {
    const model = await open({ sdxl: true })
    const text = await model.encodeText(["b", ""])
    expect(text.hidden.dims).toEqual([2, 77, 8])
    expect(text.pooled?.dims).toEqual([2, 4])
    // Filled up with the first letter by the second encoder, and with the ending by the first; layer 1 of 0…2.
    const [first, second] = [text.hidden.data[76 * 8], text.hidden.data[76 * 8 + 4]]
    expect(first).toBeCloseTo(end / 1000, 5)
    expect(second).toBe(0)
    const pooled = (begin + letterB + end) / 77 / 1000
    expect(text.pooled?.data[0]).toBeCloseTo(pooled, 5)
    // An empty prompt is zeros where model_index.json says so.
    expect(text.hidden.data.subarray(77 * 8).every((value) => value === 0)).toBe(true)
    expect(text.pooled?.data.subarray(4).every((value) => value === 0)).toBe(true)

    const one = await model.encodeText(["b"])
    const { data } = await model.denoise(tensor([1, 4, 2, 4]), 0, one)
    const hidden = (meanOfB + pooled) / 2
    const sizes = (16 + 32 + 0 + 0 + 16 + 32) / 6
    expect(data[0]).toBeCloseTo(hidden + pooled / 10 + sizes / 10, 4)
  })

  test("of a latent consistency model reads the guidance scale as waves", async () => {
    const model = await open({ lcm: true })
    expect(model.facts.guidanceEmbedded).toBe(true)
    const text = await model.encodeText(["b"])
    const { data } = await model.denoise(tensor([1, 4, 2, 2]), 0, text, 1)
    // At 1 all sines are 0 and all cosines 1.
    expect(data[0]).toBeCloseTo(meanOfB + 0.05, 5)
    expect(embedGuidance(1.001, 5)).toEqual([
      expect.closeTo(Math.sin(1), 6),
      expect.closeTo(Math.sin(1e-4), 6),
      expect.closeTo(Math.cos(1), 6),
      expect.closeTo(Math.cos(1e-4), 6),
      0,
    ])
  })

  test("says that a prompt is longer than its encoder reads", async () => {
    const model = await open()
    expect(model.describeCut("a b c")).toBeNull()
    expect(model.describeCut("a ".repeat(100))).toBe(
      "the text encoder reads 77 tokens; the prompt has 102, and what is beyond has no effect",
    )
  })

  test("that is closed cannot be run any more", async () => {
    const model = await openModel(await write(), execution)
    await model.close()
    await expect(model.decode(tensor([1, 4, 2, 2]))).rejects.toThrow("vae_decoder/model.onnx")
  })
})

const whole = tinyFiles()
const unet = whole["unet/model.onnx"]
const cut = Buffer.isBuffer(unet) ? unet.subarray(0, unet.length / 2) : ""
const float = { name: "sample", type: "float32", shape: [1] } as const
const foreign = encodeGraph({
  inputs: [float],
  outputs: [{ ...float, name: "out" }],
  nodes: [{ operator: "Identity", inputs: ["sample"], output: "out" }],
  weights: {},
})

describe.skipIf(runtime === null)("a folder is refused by file and cause, before a step", () => {
  const batchOfTwo = { sample: [2, 4, 8, 8] }
  test.each<[string, TinyModel, RegExp]>([
    [
      "no denoiser",
      { files: { "unet/model.onnx": null } },
      /unet\/model\.onnx: the file is missing$/,
    ],
    [
      "PyTorch's weights only",
      { files: { "unet/model.onnx": null, "unet/diffusion_pytorch_model.safetensors": "" } },
      /unet\/model\.onnx: the file is missing; .*optimum-cli export onnx/,
    ],
    [
      "a transformer",
      { files: { "unet/model.onnx": null, "transformer/model.onnx": "" } },
      /transformer: denoises with a transformer/,
    ],
    [
      "a cut denoiser",
      { files: { "unet/model.onnx": cut } },
      /unet\/model\.onnx: cannot be loaded/,
    ],
    [
      "no ONNX",
      { files: { "vae_decoder/model.onnx": "hello" } },
      /vae_decoder\/model\.onnx: cannot be loaded/,
    ],
    [
      "another network",
      { files: { "unet/model.onnx": foreign } },
      /unet\/model\.onnx: its input sample has 1 dimensions instead of 4/,
    ],
    [
      "another decoder",
      { files: { "vae_decoder/model.onnx": foreign } },
      /vae_decoder\/model\.onnx: its input sample has 1 dim/,
    ],
    [
      "another encoder",
      { files: { "text_encoder/model.onnx": foreign } },
      /text_encoder\/model\.onnx: has no input input_ids/,
    ],
    ["a fixed batch", batchOfTwo, /unet\/model\.onnx: its batch is fixed at 2/],
    [
      "channels of two minds",
      { sample: ["batch", 5, "h", "w"] },
      /reads 5 channels, and its config\.json says 4/,
    ],
    [
      "text of another width",
      { textWidth: 3 },
      /reads text of 3 numbers a token, and the text encoder gives 4/,
    ],
    [
      "unlikely channels",
      { files: { "unet/config.json": '{"in_channels": 5}' }, sample: ["batch", 5, "h", "w"] },
      /reads 5 channels, where latents of 4 need 4 or, to inpaint, 9/,
    ],
    [
      "no scheduler",
      { files: { "scheduler/scheduler_config.json": null } },
      /scheduler_config\.json: the file is missing/,
    ],
    [
      "a broken scheduler",
      { files: { "scheduler/scheduler_config.json": "{" } },
      /scheduler_config\.json: not JSON/,
    ],
    [
      "a list for a scheduler",
      { files: { "scheduler/scheduler_config.json": "[]" } },
      /scheduler_config\.json: not a JSON object/,
    ],
    [
      "a word for a number",
      { files: { "unet/config.json": '{"sample_size": "8"}' } },
      /unet\/config\.json: sample_size is no number/,
    ],
    [
      "half a channel",
      { files: { "unet/config.json": '{"in_channels": 4.5}' } },
      /in_channels is no whole number/,
    ],
    [
      "no tokenizer",
      { files: { "tokenizer/vocab.json": null } },
      /tokenizer\/vocab\.json: the file is missing/,
    ],
    [
      "colours for two channels",
      {
        files: {
          "model_index.json": '{"tintype": {"latent_to_rgb": {"weights": [[1, 0]], "bias": []}}}',
        },
      },
      /model_index\.json: tintype\.latent_to_rgb is not/,
    ],
  ])("%s", async (_, wish, reason) => {
    const folder = await write(wish)
    const failed = openModel(folder, execution)
    await expect(failed).rejects.toThrow(reason)
    await expect(failed).rejects.toMatchObject({ refusal: { type: "model_fault" } })
    await expect(failed).rejects.toThrow(folder)
  })

  test("no folder, a file", async () => {
    await expect(openModel("/nowhere/at/all", execution)).rejects.toThrow(
      "/nowhere/at/all: the folder is missing",
    )
    await expect(openModel(import.meta.filename, execution)).rejects.toThrow(
      "is a file, not a folder",
    )
  })

  test("a provider that is not installed", async () => {
    const failed = openModel(await write(), { provider: "cuda", threads: 1 })
    await expect(failed).rejects.toThrow(/unet\/model\.onnx: cannot be loaded on cuda/)
  })
})
