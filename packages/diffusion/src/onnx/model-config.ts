import { stat } from "node:fs/promises"
import { join } from "node:path"
import { modelFault } from "../diffusion-error.ts"
import type { ModelFacts } from "../model.ts"
import { isJson, type Json, JsonNumbers, readJson, readOptionalJson, sizeOf } from "./json-file.ts"

/** What a folder's JSON files say. */
export interface ModelConfig {
  facts: Omit<ModelFacts, "guidanceEmbedded" | "inputChannels"> & { inputChannels?: number }
  /** Numbers that stand for the guidance scale (`timestep_cond`), of models that read it. */
  guidanceWidth: number | undefined
  /** SDXL: an empty prompt is zeros instead of its encoding. */
  zeroesEmptyPrompt: boolean
}

/** What every model needs; `vae_encoder/model.onnx` only for pictures to start from. */
const neededFiles = [
  "scheduler/scheduler_config.json",
  "text_encoder/model.onnx",
  "unet/model.onnx",
  "vae_decoder/model.onnx",
]

/** Throws a `model_fault` for a folder that is no diffusers folder in ONNX; opens no network. */
export async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => null)
  if (found === null) throw modelFault(folder, "the folder is missing")
  if (!found.isDirectory()) throw modelFault(folder, "is a file, not a folder")
  if ((await sizeOf(join(folder, "transformer", "model.onnx"))) !== null) {
    const wanted = "only models with a U-Net (Stable Diffusion 1, 2, XL and their like) can be run"
    throw modelFault(join(folder, "transformer"), `denoises with a transformer, and ${wanted}`)
  }
  for (const file of neededFiles) {
    const path = join(folder, file)
    if ((await sizeOf(path)) !== null) continue
    const weights = join(folder, "unet", "diffusion_pytorch_model.safetensors")
    const hint =
      file.endsWith(".onnx") && (await sizeOf(weights)) !== null
        ? "; the folder holds PyTorch's weights: optimum-cli export onnx makes these files of them"
        : ""
    throw modelFault(path, `the file is missing${hint}`)
  }
}

export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const denoiser = join(folder, "unet", "config.json")
  const index = await readOptionalJson(join(folder, "model_index.json"))
  const decoder = join(folder, "vae_decoder", "config.json")
  const decoderJson = await readOptionalJson(decoder)
  const denoiserJson = await readOptionalJson(denoiser)
  const vae = new JsonNumbers(decoder, decoderJson)
  const unet = new JsonNumbers(denoiser, denoiserJson)
  const downscale = 2 ** (stagesOf(decoderJson) - 1)
  const halvings = stagesOf(denoiserJson) - 1
  const latentChannels = vae.wholeNumber("latent_channels", 4)
  const inputChannels = unet.wholeNumber("in_channels", undefined)
  const colours = latentToRgb(folder, index, latentChannels)
  return {
    facts: {
      latentChannels,
      ...(inputChannels === undefined ? {} : { inputChannels }),
      downscale,
      latentMultiple: 2 ** halvings,
      nativeSide: unet.wholeNumber("sample_size", 64) * downscale,
      vae: { scale: vae.number("scaling_factor", 0.18215), shift: vae.number("shift_factor", 0) },
      schedulerConfig: await readJson(join(folder, "scheduler", "scheduler_config.json")),
      ...(colours === undefined ? {} : { latentToRgb: colours }),
    },
    guidanceWidth: unet.wholeNumber("time_cond_proj_dim", undefined),
    zeroesEmptyPrompt: index["force_zeros_for_empty_prompt"] === true,
  }
}

/** Each stage but the last halves the sides; Stable Diffusion's networks have four. */
function stagesOf(config: Json): number {
  const channels = config["block_out_channels"]
  return Array.isArray(channels) && channels.length > 0 ? channels.length : 4
}

/** `{"tintype": {"latent_to_rgb": {"weights": 3 rows of latentChannels, "bias": 3 numbers}}}` in `model_index.json`. */
function latentToRgb(
  folder: string,
  index: Json,
  latentChannels: number,
): ModelFacts["latentToRgb"] | undefined {
  const ours = index["tintype"]
  const found = isJson(ours) ? ours["latent_to_rgb"] : undefined
  if (found === undefined) return undefined
  const { weights, bias } = isJson(found) ? found : {}
  if (
    Array.isArray(weights) &&
    weights.length === 3 &&
    weights.every((row) => isRow(row, latentChannels)) &&
    isRow(bias, 3)
  ) {
    return { weights, bias }
  }
  const told = `tintype.latent_to_rgb is not {weights: 3 rows of ${latentChannels} numbers, bias: 3 numbers}`
  throw modelFault(join(folder, "model_index.json"), told)
}

function isRow(value: unknown, length: number): value is number[] {
  return (
    Array.isArray(value) &&
    value.length === length &&
    value.every((one) => typeof one === "number" && Number.isFinite(one))
  )
}
