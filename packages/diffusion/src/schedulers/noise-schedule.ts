import type { ConfigReader } from "./scheduler-config.ts"
import { schedulerFault } from "./scheduler-config.ts"

/** No known model has more than 1,000. */
const trainStepsMax = 100_000

/** How much of the picture and of the noise there is at each timestep of the training. */
export interface NoiseSchedule {
  /** The variance that is the picture's, falling: `latents = √alphaBar · clean + √(1 - alphaBar) · noise`. */
  readonly alphaBars: Float64Array
  /** Noise to picture: `√((1 - alphaBar) / alphaBar)`, rising. */
  readonly sigmas: Float64Array
}

/**
 * What is left of the picture in the last timestep, where the schedule leaves nothing and a sigma must be finite: the
 * smallest positive number of half precision, as in diffusers.
 */
const smallestAlphaBar = 2 ** -24

/** `endless`: whether the last sigma may be infinite, as DDIM and LCM never divide by what is left of the picture. */
export function readNoiseSchedule(config: ConfigReader, endless: boolean): NoiseSchedule {
  const betas = readBetas(config)
  const alphaBars = new Float64Array(betas.length)
  let product = 1
  for (const [at, beta] of betas.entries()) {
    product *= 1 - beta
    alphaBars[at] = product
  }
  if (config.flag("rescale_betas_zero_snr", false)) {
    rescaleToZeroSnr(alphaBars)
    if (!endless) alphaBars[alphaBars.length - 1] = smallestAlphaBar
  }
  const sigmas = alphaBars.map((alphaBar) => Math.sqrt((1 - alphaBar) / alphaBar))
  return { alphaBars, sigmas }
}

function readBetas(config: ConfigReader): Float64Array {
  const count = config.count("num_train_timesteps", 1_000, trainStepsMax)
  const trained = config.numbers("trained_betas")
  if (trained !== undefined) {
    if (trained.length !== count) {
      throw schedulerFault(`trained_betas has ${trained.length} numbers, not ${count}`)
    }
    return Float64Array.from(trained)
  }
  const start = config.number("beta_start", 0.0001)
  const end = config.number("beta_end", 0.02)
  const between = (from: number, to: number, at: number) =>
    count === 1 ? from : from + ((to - from) * at) / (count - 1)
  const betas = new Float64Array(count)
  const kind = config.choice(
    "beta_schedule",
    ["linear", "scaled_linear", "squaredcos_cap_v2"],
    "linear",
  )
  for (let at = 0; at < count; at++) {
    if (kind === "linear") betas[at] = between(start, end, at)
    else if (kind === "scaled_linear") {
      betas[at] = between(Math.sqrt(start), Math.sqrt(end), at) ** 2
    } else betas[at] = Math.min(1 - cosine((at + 1) / count) / cosine(at / count), 0.999)
  }
  return betas
}

/** Nichol and Dhariwal 2021, equation 17. */
function cosine(time: number): number {
  return Math.cos((((time + 0.008) / 1.008) * Math.PI) / 2) ** 2
}

/** Lin and others 2024, algorithm 1: the last timestep is noise alone, the first one stays as it is. */
function rescaleToZeroSnr(alphaBars: Float64Array): void {
  const first = Math.sqrt(alphaBars[0] ?? 1)
  const last = Math.sqrt(alphaBars.at(-1) ?? 0)
  for (const [at, alphaBar] of alphaBars.entries()) {
    alphaBars[at] = ((Math.sqrt(alphaBar) - last) * (first / (first - last))) ** 2
  }
}
