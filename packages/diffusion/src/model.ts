import type { Tensor } from "./tensor.ts"

/**
 * A model as the pipeline sees it: the networks of a diffusers folder as functions over numbers. Nothing here knows ONNX;
 * `onnx/` holds what does. One call at a time; a caller that stops, stops between two calls.
 */
export interface Model {
  readonly facts: ModelFacts
  /** One row a prompt. Longer prompts than the encoder reads are cut, as diffusers cuts them. */
  encodeText(prompts: readonly string[]): Promise<Text>
  /**
   * What the network predicts (the scheduler's `prediction_type` says what that is), of the dims of `latents` with
   * `facts.latentChannels` channels. `latents` has `facts.inputChannels` channels. `text` has as many rows as `latents`.
   */
  denoise(latents: Tensor, timestep: number, text: Text, guidance?: number): Promise<Tensor>
  /** Latents, unscaled by `facts.vae`, to pictures `[batch, 3, height, width]` in -1…1. */
  decode(latents: Tensor): Promise<Tensor>
  /** Pictures in -1…1 to the mean of their latents, unscaled. */
  encode(pictures: Tensor): Promise<Tensor>
}

export interface ModelFacts {
  /** Channels of a latent: 4 for Stable Diffusion. */
  latentChannels: number
  /** Channels that the denoiser reads: `latentChannels`, or 9 for an inpainting model (latents, mask, masked picture). */
  inputChannels: number
  /** Pixels a latent, along each side: 8. */
  downscale: number
  /** Width and height at which the model was trained, in pixels. */
  nativeSide: number
  /** Latents along a side come in multiples of this, as the denoiser halves them; 8, as Stable Diffusion's, where unknown. */
  latentMultiple?: number
  /** `(latent - shift) * scale` is what the denoiser sees. */
  vae: { scale: number; shift: number }
  /** `scheduler/scheduler_config.json` as it is. */
  schedulerConfig: Readonly<Record<string, unknown>>
  /**
   * `image = latentToRgb.weights · latent + bias`, 3 rows of `latentChannels`, for cheap previews: of latents as the denoiser
   * sees them to a picture in -1…1. Absent when unknown.
   */
  latentToRgb?: { weights: readonly (readonly number[])[]; bias: readonly number[] }
  /** The denoiser takes the guidance scale as an input (LCM's `timestep_cond`), so it is not run twice. */
  guidanceEmbedded: boolean
}

/** Encoded prompts: what the denoiser reads of them. */
export interface Text {
  /** `[batch, tokens, width]`. */
  hidden: Tensor
  /** `[batch, width]`, of the second encoder of SDXL. */
  pooled?: Tensor
}
