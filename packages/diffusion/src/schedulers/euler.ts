import type { Scheduler, Step, Stepped } from "../scheduler.ts"
import { readNoiseSchedule } from "./noise-schedule.ts"
import { readPrediction } from "./prediction.ts"
import type { ConfigReader, PredictionType } from "./scheduler-config.ts"
import { predictionTypes, timestepSpacings } from "./scheduler-config.ts"
import { interpolate, karrasSigmas, readFinalSigma, timestepOf } from "./sigmas.ts"
import { roundHalfEven, spaceTimesteps } from "./timestep-spacing.ts"
import { weightedSum } from "./weighted-sum.ts"

/**
 * Euler's method (Karras and others 2022, algorithm 2 without churn): `EulerDiscreteScheduler` of diffusers. Its latents are
 * `clean + sigma · noise`, so that the denoiser sees them divided by `√(sigma² + 1)`.
 */
export class Euler implements Scheduler {
  readonly name = "euler"
  readonly timesteps: readonly number[]
  readonly initNoiseSigma: number
  readonly addsNoise = false
  readonly #type: PredictionType
  /** Of each step, and the one that the last step leads to. */
  readonly #sigmas: readonly number[]

  constructor(config: ConfigReader, steps: number) {
    config.choice("timestep_type", ["discrete"], "discrete")
    config.choice("interpolation_type", ["linear"], "linear")
    this.#type = config.choice("prediction_type", predictionTypes, "epsilon")
    const { sigmas: table } = readNoiseSchedule(config, false)
    const kind = config.choice("timestep_spacing", timestepSpacings, "linspace")
    const spaced = spaceTimesteps({
      kind,
      steps,
      trained: table.length,
      offset: config.number("steps_offset", 0),
      cleanEnd: "kept",
    }).map((timestep) => (kind === "linspace" ? Math.fround(timestep) : roundHalfEven(timestep)))
    const sigmas = spaced.map((timestep) => interpolate(table, timestep))
    const karras = config.flag("use_karras_sigmas", false)
    const used = karras
      ? karrasSigmas(
          config.number("sigma_max", sigmas[0] ?? 0),
          config.number("sigma_min", sigmas.at(-1) ?? 0),
          steps,
        )
      : sigmas
    this.timesteps = karras ? used.map((sigma) => timestepOf(sigma, table)) : spaced
    this.#sigmas = [...used, readFinalSigma(config, table)]
    const largest = Math.max(...used)
    this.initNoiseSigma = kind === "leading" ? Math.hypot(largest, 1) : largest
  }

  scaleInput(latents: Float32Array, index: number): Float32Array {
    const alpha = 1 / Math.hypot(this.#sigma(index), 1)
    return latents.map((value) => value * alpha)
  }

  step({ index, latents, prediction }: Step): Stepped {
    const sigma = this.#sigma(index)
    // Divided by √(sigma² + 1), the latents are of variance 1: `alpha · clean + alpha · sigma · noise`.
    const alpha = 1 / Math.hypot(sigma, 1)
    const reading = readPrediction(this.#type, alpha, sigma * alpha)
    const clean = weightedSum(
      [reading.clean.latents * alpha, latents],
      [reading.clean.prediction, prediction],
    )
    const left = this.#sigma(index + 1) / sigma
    return { latents: weightedSum([left, latents], [1 - left, clean]), clean }
  }

  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array {
    return weightedSum([1, clean], [this.#sigma(index), noise])
  }

  #sigma(index: number): number {
    return this.#sigmas[index] ?? 0
  }
}
