import type { ModelFacts } from "../model.ts"

/**
 * Stable Diffusion 1 and 2, fitted to its decoder by users and published with "Decoding latents to RGB without upscaling"
 * (discuss.huggingface.co, 2022). Models with other latents say their own, or have no previews.
 */
const stableDiffusionLatentToRgb: LatentToRgb = {
  weights: [
    [0.298, 0.187, -0.158, -0.184],
    [0.207, 0.286, 0.189, -0.271],
    [0.208, 0.173, 0.264, -0.473],
  ],
  bias: [0, 0, 0],
}
const stableDiffusionScale = 0.18215

export type LatentToRgb = NonNullable<ModelFacts["latentToRgb"]>

/** The model's own factors, else those of the latents that it shares with Stable Diffusion; null when a preview would be wrong. */
export function latentToRgbOf(
  facts: Pick<ModelFacts, "latentToRgb" | "latentChannels" | "vae">,
): LatentToRgb | null {
  if (facts.latentToRgb !== undefined) return facts.latentToRgb
  const isStableDiffusion =
    facts.latentChannels === 4 && Math.abs(facts.vae.scale - stableDiffusionScale) < 1e-5
  return isStableDiffusion ? stableDiffusionLatentToRgb : null
}

/** Red, green and blue of each latent, row by row: a picture of a pixel a latent, from `[channels, height, width]`. */
export function previewLatents(
  latents: Float32Array,
  { weights, bias }: LatentToRgb,
): Uint8ClampedArray<ArrayBuffer> {
  const channels = weights[0]?.length ?? 1
  const places = latents.length / channels
  const pixels = new Uint8ClampedArray(places * 3)
  for (const [colour, row] of weights.entries()) {
    for (let place = 0; place < places; place++) {
      let value = bias[colour] ?? 0
      for (let channel = 0; channel < channels; channel++) {
        value += (row[channel] ?? 0) * (latents[channel * places + place] ?? 0)
      }
      // From -1…1; the array rounds and clamps.
      pixels[place * 3 + colour] = (value + 1) * 127.5
    }
  }
  return pixels
}
