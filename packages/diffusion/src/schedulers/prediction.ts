import type { PredictionType } from "./scheduler-config.ts"

/** How much of the latents and of the prediction a quantity is made of. */
export interface Shares {
  latents: number
  prediction: number
}

/**
 * What the denoiser's prediction says of the clean picture and of the noise, where latents are `alpha · clean + sigma · noise`
 * with `alpha² + sigma² = 1` (Salimans and Ho 2022, appendix D).
 */
export function readPrediction(
  type: PredictionType,
  alpha: number,
  sigma: number,
): { clean: Shares; noise: Shares } {
  if (type === "epsilon") {
    return {
      clean: { latents: 1 / alpha, prediction: -sigma / alpha },
      noise: { latents: 0, prediction: 1 },
    }
  }
  if (type === "v_prediction") {
    return {
      clean: { latents: alpha, prediction: -sigma },
      noise: { latents: sigma, prediction: alpha },
    }
  }
  return {
    clean: { latents: 0, prediction: 1 },
    noise: { latents: 1 / sigma, prediction: -alpha / sigma },
  }
}
