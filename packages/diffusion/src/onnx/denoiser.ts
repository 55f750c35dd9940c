import { modelFault } from "../diffusion-error.ts"
import type { ModelFacts, Text } from "../model.ts"
import type { Tensor } from "../tensor.ts"
import type { ModelConfig } from "./model-config.ts"
import type { Network, Numbers, Port } from "./network.ts"

const known = [
  "sample",
  "timestep",
  "encoder_hidden_states",
  "text_embeds",
  "time_ids",
  "timestep_cond",
]

/** The U-Net: which of the inputs that exports of diffusers' U-Nets have this one has, and what each is given. */
export class Denoiser {
  readonly network: Network
  /** SDXL: it also reads the pooled text and the picture's size. */
  readonly readsPooledText: boolean
  readonly guidanceEmbedded: boolean
  readonly inputChannels: number | undefined
  readonly #output: string
  readonly #guidanceWidth: number | undefined

  /** Throws a `model_fault` where the network is no U-Net of that configuration. */
  constructor(network: Network, config: ModelConfig) {
    this.network = network
    const { path, inputs, outputs } = network
    const foreign = [...inputs.keys()].filter((name) => !known.includes(name))
    if (foreign.length > 0) throw modelFault(path, `has unknown inputs: ${foreign.join(", ")}`)
    const [batch, channels] = network.input("sample", 4).shape
    if (typeof batch === "number" && batch > 0) {
      throw modelFault(path, `its batch is fixed at ${batch}; export it with a dynamic batch`)
    }
    const { inputChannels, latentChannels } = config.facts
    const fixed = typeof channels === "number" ? channels : undefined
    if (fixed !== undefined && inputChannels !== undefined && fixed !== inputChannels) {
      throw modelFault(path, `reads ${fixed} channels, and its config.json says ${inputChannels}`)
    }
    this.inputChannels = inputChannels ?? fixed
    if (![undefined, latentChannels, 2 * latentChannels + 1].includes(this.inputChannels)) {
      const told = `reads ${this.inputChannels} channels, where latents of ${latentChannels} need ${latentChannels} or, to inpaint, ${2 * latentChannels + 1}`
      throw modelFault(path, told)
    }
    network.input("encoder_hidden_states", 3)
    const time = inputs.get("timestep")
    if (time === undefined || time.shape.length > 1) network.input("timestep", 1)
    this.readsPooledText = inputs.has("text_embeds")
    if (this.readsPooledText) {
      network.input("text_embeds", 2)
      network.input("time_ids", 2)
    }
    this.guidanceEmbedded = inputs.has("timestep_cond")
    this.#guidanceWidth = this.guidanceEmbedded ? guidanceWidthOf(network, config) : undefined
    this.#output = outputOf(path, outputs)
  }

  /** Throws a `model_fault` where what the encoders give is not as wide as what is read, as far as the files tell. */
  checkText(widths: readonly (number | undefined)[]): void {
    const read = this.network.input("encoder_hidden_states", 3).shape[2]
    const given = widths.reduce<number>((sum, width) => sum + (width ?? NaN), 0)
    if (typeof read !== "number" || Number.isNaN(given) || read === given) return
    const told = `reads text of ${read} numbers a token, and the text encoder gives ${given}`
    throw modelFault(this.network.path, told)
  }

  async run(
    latents: Tensor,
    timestep: number,
    text: Text,
    guidance: number | undefined,
    facts: ModelFacts,
  ): Promise<Tensor> {
    const [batch = 1, , height = 0, width = 0] = latents.dims
    const feeds: Record<string, Numbers> = {
      sample: latents,
      timestep: this.#timeOf(timestep, batch),
      encoder_hidden_states: text.hidden,
    }
    if (this.readsPooledText) {
      const { pooled } = text
      if (pooled === undefined) {
        throw modelFault(
          this.network.path,
          "reads pooled text, which the text encoder does not give",
        )
      }
      const size = [height * facts.downscale, width * facts.downscale]
      const ids = [...size, 0, 0, ...size]
      feeds["text_embeds"] = pooled
      feeds["time_ids"] = { data: repeat(ids, batch), dims: [batch, ids.length] }
    }
    if (this.#guidanceWidth !== undefined) {
      const embedded = embedGuidance(guidance ?? 1, this.#guidanceWidth)
      feeds["timestep_cond"] = {
        data: repeat(embedded, batch),
        dims: [batch, this.#guidanceWidth],
      }
    }
    const found = await this.network.run(feeds, [this.#output])
    return this.#checked(found[this.#output]!, latents, facts)
  }

  /** A scalar, one number, or one a row: exports have all three. */
  #timeOf(timestep: number, batch: number): Numbers {
    const shape = this.network.inputs.get("timestep")?.shape ?? []
    const [length] = shape
    if (length === undefined) return { data: [timestep], dims: [] }
    const rows = this.network.inputs.get("sample")?.shape[0]
    const count = typeof length === "string" && length === rows ? batch : 1
    return { data: repeat([timestep], count), dims: [count] }
  }

  #checked(predicted: Tensor, latents: Tensor, facts: ModelFacts): Tensor {
    const [batch, , height, width] = latents.dims
    const wanted = [batch, facts.latentChannels, height, width]
    if (wanted.every((size, at) => predicted.dims[at] === size)) return predicted
    const told = `predicts ${predicted.dims.join("x")} for latents of ${wanted.join("x")}`
    throw modelFault(this.network.path, told)
  }
}

function outputOf(path: string, outputs: readonly Port[]): string {
  const found = outputs.find(({ name }) => name === "out_sample") ?? outputs[0]
  if (found !== undefined && found.shape.length === 4) return found.name
  throw modelFault(path, "has no output of four dimensions")
}

function guidanceWidthOf(network: Network, config: ModelConfig): number {
  const fixed = network.input("timestep_cond", 2).shape[1]
  const width = config.guidanceWidth ?? (typeof fixed === "number" ? fixed : undefined)
  if (width !== undefined) return width
  throw modelFault(
    network.path,
    "reads timestep_cond; time_cond_proj_dim in config.json is missing",
  )
}

/** Sines and cosines of the scale, in diffusers' form: the network was trained to read `guidance - 1`, in thousandths. */
export function embedGuidance(guidance: number, width: number): number[] {
  const half = Math.floor(width / 2)
  const angles = Array.from(
    { length: half },
    (_, at) => (guidance - 1) * 1000 * Math.exp((-Math.log(10_000) * at) / (half - 1)),
  )
  const waves = [...angles.map(Math.sin), ...angles.map(Math.cos)]
  return width % 2 === 0 ? waves : [...waves, 0]
}

function repeat(row: readonly number[], count: number): number[] {
  return Array.from({ length: count }, () => row).flat()
}
