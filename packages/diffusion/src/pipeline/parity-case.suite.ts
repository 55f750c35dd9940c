import { readFileSync } from "node:fs"
import { cp, mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { SchedulerName } from "../job.ts"
import type { Model } from "../model.ts"
import { openModel } from "../onnx/open-model.ts"
import type { Tensor } from "../tensor.ts"
import { generatePictures } from "./pipeline.ts"
import type { NoiseSource } from "./seeded-noise.ts"

/** What Python's diffusers made of small random networks, and what this pipeline makes of the same: `parity/README.md`. */

interface StoredArray {
  type: "float32" | "uint8"
  dims: number[]
  offset: number
}

export interface ParityCase {
  scheduler: SchedulerName
  config: Record<string, unknown>
  mode: "text-to-image" | "image-to-image" | "inpainting"
  steps: number
  guidance: number
  pictures: number
  strength: number
  unet: "plain" | "inpainting" | "guidance"
  width: number
  height: number
  latents: StoredArray
  images: StoredArray
}

export interface Parity {
  scheduler: SchedulerName
  mode: ParityCase["mode"]
  steps: number
  /** The largest error of a step's numbers, over the root of their mean square. */
  latentError: number
  /** The largest error of a channel, of 255. */
  imageError: number
}

interface StoredParity {
  versions: Record<string, string>
  prompt: string
  negativePrompt: string
  inputs: { noise: StoredArray; picture: StoredArray; mask: StoredArray }
  cases: ParityCase[]
}

/** `ParityFolder.read(folder)`: the outputs that `make_parity.py --out folder` has written. */
export class ParityFolder {
  readonly stored: StoredParity
  readonly #folder: string
  readonly #bytes: Buffer
  readonly #models = new Map<string, Promise<Model & { close(): Promise<void> }>>()

  constructor(folder: string) {
    this.#folder = folder
    const told = readFileSync(join(folder, "pipelines.json"), "utf8")
    this.stored = JSON.parse(told) as StoredParity
    this.#bytes = readFileSync(join(folder, "tensors.bin"))
  }

  async compare(one: ParityCase): Promise<Parity> {
    const opened = await this.#open(one.unet)
    // The checkpoint has one configuration; each case has its own.
    const model: Model = {
      facts: { ...opened.facts, schedulerConfig: one.config },
      encodeText: async (prompts) => await opened.encodeText(prompts),
      denoise: async (...call) => await opened.denoise(...call),
      decode: async (latents) => await opened.decode(latents),
      encode: async (pictures) => await opened.encode(pictures),
    }
    const steps: Float32Array[] = []
    const images = await generatePictures(model, this.#generation(one, model), {
      onStep: ({ latents }) => {
        steps.push(latents.data.slice())
      },
    })
    const theirs = this.#numbers(one.latents)
    const [count = 0] = one.latents.dims
    if (steps.length !== count) throw new Error(`${steps.length} steps instead of ${count}`)
    const length = theirs.length / count
    const errors = steps.map((ours, at) =>
      relativeError(ours, theirs.subarray(at * length, (at + 1) * length)),
    )
    return {
      scheduler: one.scheduler,
      mode: one.mode,
      steps: count,
      latentError: Math.max(...errors),
      imageError: imageError(images, this.#numbers(one.images)),
    }
  }

  async close(): Promise<void> {
    for (const model of this.#models.values()) await (await model).close()
  }

  #generation(one: ParityCase, { facts }: Model): Parameters<typeof generatePictures>[1] {
    const { stored } = this
    const { inputs } = stored
    const { steps, width, height } = one
    const length = (facts.latentChannels * width * height) / facts.downscale ** 2
    const noise = this.#numbers(inputs.noise)
    const drawLength = inputs.noise.dims[1] ?? 0
    const noises = Array.from({ length: one.pictures }, (_, picture): NoiseSource => {
      let drawn = 0
      return {
        drawInto: (target) => {
          const from = drawn * drawLength + picture * length
          target.set(noise.subarray(from, from + length))
          drawn++
        },
      }
    })
    const texts = { prompt: stored.prompt, negativePrompt: stored.negativePrompt }
    const shared = { ...texts, steps, guidanceScale: one.guidance, size: { width, height }, noises }
    if (one.mode === "text-to-image") return shared
    const pixels = this.#numbers(inputs.picture)
    const data = new Float32Array(pixels.length)
    for (let at = 0; at < pixels.length; at++) {
      data[(at % 3) * width * height + Math.floor(at / 3)] = ((pixels[at] ?? 0) / 255) * 2 - 1
    }
    const picture = { data, dims: [1, 3, height, width] }
    if (one.mode === "image-to-image") {
      return { ...shared, source: { picture, strength: one.strength } }
    }
    const mask = {
      data: Float32Array.from(this.#numbers(inputs.mask), (value) => value / 255),
      dims: [1, 1, height, width],
    }
    return { ...shared, source: { picture, mask, strength: one.strength } }
  }

  #numbers({ type, dims, offset }: StoredArray): Float32Array {
    const length = dims.reduce((product, size) => product * size, 1)
    return Float32Array.from({ length }, (_, at) =>
      type === "uint8"
        ? this.#bytes.readUInt8(offset + at)
        : this.#bytes.readFloatLE(offset + 4 * at),
    )
  }

  async #open(unet: ParityCase["unet"]): Promise<Model> {
    let model = this.#models.get(unet)
    if (model === undefined) {
      model = this.#assemble(unet).then(
        async (folder) => await openModel(folder, { provider: "cpu", threads: 1 }),
      )
      this.#models.set(unet, model)
    }
    return await model
  }

  /** The variants differ from the checkpoint by their U-Net alone. */
  async #assemble(unet: ParityCase["unet"]): Promise<string> {
    const checkpoint = join(this.#folder, "checkpoint")
    if (unet === "plain") return checkpoint
    const folder = await mkdtemp(join(tmpdir(), "parity-"))
    await cp(checkpoint, folder, { recursive: true })
    await cp(join(this.#folder, `unet-${unet}`), join(folder, "unet"), { recursive: true })
    return folder
  }
}

function relativeError(ours: Float32Array, theirs: Float32Array): number {
  let squares = 0
  let largest = 0
  for (const [at, value] of theirs.entries()) {
    squares += value * value
    const error = Math.abs(value - (ours[at] ?? NaN))
    // NaN is larger than anything allowed.
    if (!(error <= largest)) largest = Number.isNaN(error) ? Infinity : error
  }
  return largest / Math.sqrt(squares / theirs.length)
}

/** Against bytes `[pictures, height, width, 3]`, ours rounded in the same way. */
function imageError(pictures: readonly Tensor[], theirs: Float32Array): number {
  const length = theirs.length / pictures.length
  let largest = 0
  for (const [picture, { data }] of pictures.entries()) {
    const places = data.length / 3
    for (const [at, value] of data.entries()) {
      const byte = Math.round(Math.min(Math.max(value / 2 + 0.5, 0), 1) * 255)
      const there = theirs[picture * length + (at % places) * 3 + Math.floor(at / places)] ?? NaN
      const error = Math.abs(byte - there)
      if (!(error <= largest)) largest = Number.isNaN(error) ? Infinity : error
    }
  }
  return largest
}
