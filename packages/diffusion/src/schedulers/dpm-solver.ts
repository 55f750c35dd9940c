import type { Scheduler, Step, Stepped } from "../scheduler.ts"
import { readNoiseSchedule } from "./noise-schedule.ts"
import { readPrediction } from "./prediction.ts"
import type { ConfigReader, PredictionType } from "./scheduler-config.ts"
import { predictionTypes, schedulerFault, timestepSpacings } from "./scheduler-config.ts"
import { interpolate, karrasSigmas, readFinalSigma, timestepOf } from "./sigmas.ts"
import { roundHalfEven, spaceTimesteps } from "./timestep-spacing.ts"
import { weightedSum } from "./weighted-sum.ts"

/** Below so many steps the last one is of the first order, where a straight line errs least. */
const fewSteps = 15

/**
 * DPM-Solver++(2M), the multistep solver of the second order for what the denoiser thinks is the clean picture, with midpoint
 * weights (Lu and others 2022, algorithm 2): `DPMSolverMultistepScheduler` of diffusers.
 */
export class DpmSolver implements Scheduler {
  readonly name = "dpm-solver++"
  readonly timesteps: readonly number[]
  readonly initNoiseSigma = 1
  readonly addsNoise = false
  readonly #type: PredictionType
  /** Noise to picture, of each step and of what the last step leads to. */
  readonly #sigmas: readonly number[]
  readonly #secondOrder: boolean
  readonly #endsFirstOrder: boolean

  constructor(config: ConfigReader, steps: number) {
    // A model's own `bh2` or `logrho` is a solver of a neighbour's (UniPC, DEIS) and says nothing of this one.
    config.choice("algorithm_type", ["dpmsolver++", "deis"], "dpmsolver++")
    config.choice("solver_type", ["midpoint", "logrho", "bh1", "bh2"], "midpoint")
    this.#type = config.choice("prediction_type", predictionTypes, "epsilon")
    this.#secondOrder = config.count("solver_order", 2, 2) === 2
    const { alphaBars, sigmas: table } = readNoiseSchedule(config, false)
    const spaced = spaceTimesteps({
      kind: config.choice("timestep_spacing", timestepSpacings, "linspace"),
      steps,
      trained: table.length,
      used: countUsed(alphaBars, config.number("lambda_min_clipped", -Infinity)),
      offset: config.number("steps_offset", 0),
      cleanEnd: "left out",
    }).map(roundHalfEven)
    const karras = config.flag("use_karras_sigmas", false)
    if (karras && config.isSet("beta_schedule", "squaredcos_cap_v2")) {
      // There diffusers cuts timesteps off, and rounding in single precision decides which ones.
      throw schedulerFault(
        "use_karras_sigmas with beta_schedule squaredcos_cap_v2 is not supported",
      )
    }
    const sigmas = karras
      ? karrasSigmas(table.at(-1) ?? 0, table[0] ?? 0, steps)
      : spaced.map((timestep) => interpolate(table, timestep))
    this.timesteps = karras
      ? sigmas.map((sigma) => roundHalfEven(timestepOf(sigma, table)))
      : spaced
    const final = readFinalSigma(config, table)
    this.#sigmas = [...sigmas, final]
    this.#endsFirstOrder =
      final === 0 ||
      config.flag("euler_at_final", false) ||
      (config.flag("lower_order_final", true) && this.timesteps.length < fewSteps)
  }

  scaleInput(latents: Float32Array): Float32Array {
    return latents
  }

  step({ index, latents, prediction, previousClean }: Step): Stepped {
    const from = this.#at(index)
    const to = this.#at(index + 1)
    const reading = readPrediction(this.#type, from.alpha, from.sigma)
    const clean = weightedSum(
      [reading.clean.latents, latents],
      [reading.clean.prediction, prediction],
    )
    const width = to.lambda - from.lambda
    const ofLatents = to.sigma / from.sigma
    const ofClean = -to.alpha * Math.expm1(-width)
    const isLast = index === this.timesteps.length - 1
    if (!this.#secondOrder || previousClean === undefined || (isLast && this.#endsFirstOrder)) {
      return { latents: weightedSum([ofLatents, latents], [ofClean, clean]), clean }
    }
    const ratio = (from.lambda - this.#at(index - 1).lambda) / width
    const slope = ofClean / (2 * ratio)
    const next = weightedSum(
      [ofLatents, latents],
      [ofClean + slope, clean],
      [-slope, previousClean],
    )
    return { latents: next, clean }
  }

  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array {
    const { alpha, sigma } = this.#at(index)
    return weightedSum([alpha, clean], [sigma, noise])
  }

  /** `lambda` is half the logarithm of the signal to noise ratio: endless where no noise is left. */
  #at(index: number): { alpha: number; sigma: number; lambda: number } {
    const ratio = this.#sigmas[index] ?? 0
    const alpha = 1 / Math.hypot(ratio, 1)
    return { alpha, sigma: ratio * alpha, lambda: -Math.log(ratio) }
  }
}

/** Timesteps whose lambda reaches `lambdaMin`: the cosine schedule's noisiest ones are beyond what a step can bridge. */
function countUsed(alphaBars: Float64Array, lambdaMin: number): number {
  const reaches = (alphaBar: number) => 0.5 * Math.log(alphaBar / (1 - alphaBar)) >= lambdaMin
  return alphaBars.filter(reaches).length
}
