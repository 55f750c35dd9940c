import { join } from "node:path"
import { modelFault } from "../diffusion-error.ts"
import type { Tensor } from "../tensor.ts"
import { JsonNumbers, readOptionalJson } from "./json-file.ts"
import { Network, type Port } from "./network.ts"
import { type Execution, type Runtime } from "./runtime.ts"
import { PromptTokenizer } from "./tokenizer.ts"

/** `final` for Stable Diffusion 1 and 2; SDXL's denoiser reads the layer before. */
export type Layer = "final" | "penultimate"

/** One tokenizer with its network. */
export class TextEncoder {
  readonly network: Network
  readonly tokenizer: PromptTokenizer
  readonly #hidden: string
  readonly #pooled: string | undefined

  private constructor(network: Network, tokenizer: PromptTokenizer, layer: Layer) {
    this.network = network
    this.tokenizer = tokenizer
    this.#hidden = layer === "final" ? finalOutput(network) : penultimateOutput(network)
    this.#pooled = network.outputs.find(isPooled)?.name
  }

  /** `open(folder, "_2", …)` is the second one of SDXL. */
  static async open(
    folder: string,
    suffix: "" | "_2",
    layer: Layer,
    runtime: Runtime,
    execution: Execution,
  ): Promise<TextEncoder> {
    const config = join(folder, `text_encoder${suffix}`, "config.json")
    const numbers = new JsonNumbers(config, await readOptionalJson(config))
    const places = numbers.wholeNumber("max_position_embeddings", undefined)
    const tokenizer = await PromptTokenizer.open(join(folder, `tokenizer${suffix}`), places)
    const path = join(folder, `text_encoder${suffix}`, "model.onnx")
    const network = await Network.open(path, runtime, execution)
    try {
      const [, length] = network.input("input_ids", 2).shape
      if (typeof length === "number" && length !== tokenizer.tokensMax) {
        const told = `reads ${length} tokens, and the tokenizer gives ${tokenizer.tokensMax}`
        throw modelFault(path, told)
      }
      return new TextEncoder(network, tokenizer, layer)
    } catch (error) {
      await network.close()
      throw error
    }
  }

  async encode(prompts: readonly string[]): Promise<{ hidden: Tensor; pooled?: Tensor }> {
    const { tokensMax } = this.tokenizer
    const ids = prompts.flatMap((prompt) => this.tokenizer.encode(prompt).ids)
    const dims = [prompts.length, tokensMax]
    const feeds = {
      input_ids: { data: ids, dims },
      // As diffusers does for CLIP: nothing is masked, the padding is read, too.
      ...(this.network.inputs.has("attention_mask")
        ? { attention_mask: { data: ids.map(() => 1), dims } }
        : {}),
    }
    const wanted = this.#pooled === undefined ? [this.#hidden] : [this.#hidden, this.#pooled]
    const found = await this.network.run(feeds, wanted)
    const pooled = this.#pooled === undefined ? undefined : found[this.#pooled]
    return { hidden: found[this.#hidden]!, ...(pooled === undefined ? {} : { pooled }) }
  }

  /** Columns of `hidden`, where the file tells. */
  get width(): number | undefined {
    const last = this.network.outputs.find((port) => port.name === this.#hidden)?.shape.at(-1)
    return typeof last === "number" ? last : undefined
  }
}

/** Exporters name the pooled output `pooler_output`, or `text_embeds` where it is projected. */
function isPooled({ name, shape }: Port): boolean {
  return name === "text_embeds" || (name === "pooler_output" && shape.length === 2)
}

function finalOutput({ path, outputs }: Network): string {
  const named = outputs.find(({ name }) => name === "last_hidden_state")
  const found = named ?? outputs.find(({ shape }) => shape.length === 3)
  if (found !== undefined) return found.name
  throw modelFault(path, "has no output of three dimensions for the hidden states")
}

/** `hidden_states.0` … `hidden_states.n`, the embedding first and the last layer last. */
function penultimateOutput({ path, outputs }: Network): string {
  const layers = outputs.map(({ name }) => name).filter((name) => /^hidden_states\.\d+$/.test(name))
  layers.sort((a, b) => Number(a.split(".")[1]) - Number(b.split(".")[1]))
  const found = layers.at(-2)
  if (found !== undefined) return found
  throw modelFault(path, "has no outputs hidden_states.N, which this kind of model needs")
}
