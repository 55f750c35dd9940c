import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { DiffusionError, modelFault } from "../diffusion-error.ts"
import type { Model, ModelFacts, Text } from "../model.ts"
import type { Tensor } from "../tensor.ts"
import { Denoiser } from "./denoiser.ts"
import { sizeOf } from "./json-file.ts"
import { checkFolder, type ModelConfig, readModelConfig } from "./model-config.ts"
import { Network } from "./network.ts"
import { joinColumns } from "./join-columns.ts"
import { type Execution, loadRuntime, type Runtime } from "./runtime.ts"
import { TextEncoder } from "./text-encoder.ts"

/** The networks of a diffusers folder, loaded. The VAE's encoder comes with the first picture. */
export class OnnxModel implements Model {
  readonly facts: ModelFacts
  readonly #folder: string
  readonly #runtime: Runtime
  readonly #execution: Execution
  readonly #zeroesEmptyPrompt: boolean
  readonly #encoders: readonly TextEncoder[]
  readonly #denoiser: Denoiser
  readonly #decoder: Network
  #pictureEncoder: Network | undefined
  /** Of the files that are loaded, which is what their weights take in memory. */
  bytes = 0

  constructor(
    folder: string,
    runtime: Runtime,
    execution: Execution,
    config: ModelConfig,
    networks: { encoders: readonly TextEncoder[]; denoiser: Denoiser; decoder: Network },
  ) {
    this.#folder = folder
    this.#runtime = runtime
    this.#execution = execution
    this.#zeroesEmptyPrompt = config.zeroesEmptyPrompt
    this.#encoders = networks.encoders
    this.#denoiser = networks.denoiser
    this.#decoder = networks.decoder
    const { latentChannels } = config.facts
    this.facts = {
      ...config.facts,
      inputChannels: networks.denoiser.inputChannels ?? latentChannels,
      guidanceEmbedded: networks.denoiser.guidanceEmbedded,
    }
  }

  /** One line where a prompt is longer than the encoder reads, else null. */
  describeCut(prompt: string): string | null {
    const [encoder] = this.#encoders
    if (encoder === undefined) return null
    const { wanted } = encoder.tokenizer.encode(prompt)
    const { tokensMax } = encoder.tokenizer
    if (wanted <= tokensMax) return null
    return `the text encoder reads ${tokensMax} tokens; the prompt has ${wanted}, and what is beyond has no effect`
  }

  async encodeText(prompts: readonly string[]): Promise<Text> {
    const texts: { hidden: Tensor; pooled?: Tensor }[] = []
    for (const encoder of this.#encoders) texts.push(await encoder.encode(prompts))
    const hidden = joinColumns(texts.map((text) => text.hidden))
    const pooled = this.#denoiser.readsPooledText ? texts.at(-1)?.pooled : undefined
    if (this.#zeroesEmptyPrompt) {
      for (const [row, prompt] of prompts.entries()) {
        if (prompt !== "") continue
        clearRow(hidden, row)
        if (pooled !== undefined) clearRow(pooled, row)
      }
    }
    return { hidden, ...(pooled === undefined ? {} : { pooled }) }
  }

  async denoise(latents: Tensor, timestep: number, text: Text, guidance?: number): Promise<Tensor> {
    return await this.#denoiser.run(latents, timestep, text, guidance, this.facts)
  }

  async decode(latents: Tensor): Promise<Tensor> {
    const [batch = 0, , height = 0, width = 0] = latents.dims
    const { downscale } = this.facts
    const found = await runOnly(this.#decoder, latents)
    checkDims(this.#decoder, found, [batch, 3, height * downscale, width * downscale])
    return found
  }

  async encode(pictures: Tensor): Promise<Tensor> {
    const { latentChannels, downscale } = this.facts
    this.#pictureEncoder ??= await this.#openPictureEncoder()
    const found = await runOnly(this.#pictureEncoder, pictures)
    const [, channels = 0] = found.dims
    const [batch = 0, , rows = 0, columns = 0] = pictures.dims
    const [height, width] = [rows / downscale, columns / downscale]
    // Newer exports give mean and log variance, older ones a latent.
    if (channels !== latentChannels && channels !== 2 * latentChannels) {
      const told = `gives ${channels} channels instead of ${latentChannels} or ${2 * latentChannels}`
      throw modelFault(this.#pictureEncoder.path, told)
    }
    checkDims(this.#pictureEncoder, found, [batch, channels, height, width])
    if (channels === latentChannels) return found
    const length = latentChannels * height * width
    const data = new Float32Array(batch * length)
    for (let row = 0; row < batch; row++) {
      data.set(found.data.subarray(2 * row * length, (2 * row + 1) * length), row * length)
    }
    return { data, dims: [batch, latentChannels, height, width] }
  }

  /** Gives the memory back. */
  async close(): Promise<void> {
    const networks = [...this.#encoders, this.#denoiser].map(({ network }) => network)
    if (this.#pictureEncoder !== undefined) networks.push(this.#pictureEncoder)
    for (const network of [...networks, this.#decoder]) await network.close()
  }

  async #openPictureEncoder(): Promise<Network> {
    const path = join(this.#folder, "vae_encoder", "model.onnx")
    if ((await sizeOf(path)) === null) {
      throw new DiffusionError({
        type: "feature_not_supported",
        field: "image_url",
        message: "This model cannot start from a picture: it has no vae_encoder/model.onnx.",
      })
    }
    const network = await Network.open(path, this.#runtime, this.#execution)
    this.bytes += await bytesIn(join(this.#folder, "vae_encoder"))
    return network
  }
}

/** Loads what text-to-image needs; throws a `DiffusionError` that names the file and what is wrong with it. */
export async function openModel(folder: string, execution: Execution): Promise<OnnxModel> {
  await checkFolder(folder)
  const config = await readModelConfig(folder)
  const runtime = await loadRuntime()
  const opened: { close(): Promise<void> }[] = []
  const keep = <Opened extends { network: Network }>(one: Opened): Opened => {
    opened.push(one.network)
    return one
  }
  try {
    const path = join(folder, "unet", "model.onnx")
    const network = await Network.open(path, runtime, execution)
    opened.push(network)
    const denoiser = new Denoiser(network, config)
    const layer = denoiser.readsPooledText ? "penultimate" : "final"
    const suffixes = denoiser.readsPooledText ? (["", "_2"] as const) : ([""] as const)
    const encoders: TextEncoder[] = []
    for (const suffix of suffixes) {
      encoders.push(keep(await TextEncoder.open(folder, suffix, layer, runtime, execution)))
    }
    denoiser.checkText(encoders.map(({ width }) => width))
    const decoder = await openDecoder(folder, config, runtime, execution)
    opened.push(decoder)
    const model = new OnnxModel(folder, runtime, execution, config, { encoders, denoiser, decoder })
    const folders = ["unet", "vae_decoder", ...suffixes.map((suffix) => `text_encoder${suffix}`)]
    for (const one of folders) model.bytes += await bytesIn(join(folder, one))
    return model
  } catch (error) {
    for (const network of opened) await network.close()
    throw error
  }
}

async function openDecoder(
  folder: string,
  config: ModelConfig,
  runtime: Runtime,
  execution: Execution,
): Promise<Network> {
  const path = join(folder, "vae_decoder", "model.onnx")
  const decoder = await Network.open(path, runtime, execution)
  const { latentChannels } = config.facts
  try {
    const [, channels] = decoder.onlyInput(4).shape
    if (typeof channels === "number" && channels !== latentChannels) {
      throw modelFault(path, `reads ${channels} channels instead of ${latentChannels}`)
    }
    return decoder
  } catch (error) {
    await decoder.close()
    throw error
  }
}

async function runOnly(network: Network, numbers: Tensor): Promise<Tensor> {
  const input = network.onlyInput(4)
  const [output] = network.outputs
  if (output === undefined) throw modelFault(network.path, "has no output")
  const found = await network.run({ [input.name]: numbers }, [output.name])
  return found[output.name]!
}

/** Other sizes would be taken for a picture all the same, and a bad one. */
function checkDims({ path }: Network, { dims }: Tensor, wanted: readonly number[]): void {
  if (dims.length === wanted.length && wanted.every((size, at) => dims[at] === size)) return
  const told = `gives ${dims.join("x")} instead of ${wanted.join("x")}; block_out_channels of vae_decoder/config.json says how much smaller latents are`
  throw modelFault(path, told)
}

function clearRow({ data, dims }: Tensor, row: number): void {
  const size = data.length / (dims[0] ?? 1)
  data.fill(0, row * size, (row + 1) * size)
}

async function bytesIn(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map((name) => sizeOf(join(folder, name)))
  return (await Promise.all(sizes)).reduce<number>((sum, size) => sum + (size ?? 0), 0)
}
