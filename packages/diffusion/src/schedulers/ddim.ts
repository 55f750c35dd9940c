import type { Scheduler, Step, Stepped } from "../scheduler.ts"
import type { NoiseSchedule } from "./noise-schedule.ts"
import { readNoiseSchedule } from "./noise-schedule.ts"
import { readPrediction } from "./prediction.ts"
import type { ConfigReader, PredictionType } from "./scheduler-config.ts"
import { predictionTypes, timestepSpacings } from "./scheduler-config.ts"
import { roundHalfEven, spaceTimesteps } from "./timestep-spacing.ts"
import { clipped, weightedSum } from "./weighted-sum.ts"

/** DDIM without noise, eta = 0 (Song and others 2021): `DDIMScheduler` of diffusers. */
export class Ddim implements Scheduler {
  readonly name = "ddim"
  readonly timesteps: readonly number[]
  readonly initNoiseSigma = 1
  readonly addsNoise = false
  readonly #schedule: NoiseSchedule
  readonly #type: PredictionType
  /** From a timestep to the one that the step leads to, whatever the spacing. */
  readonly #stride: number
  readonly #finalAlphaBar: number
  readonly #clip: number

  constructor(config: ConfigReader, steps: number) {
    this.#type = config.choice("prediction_type", predictionTypes, "epsilon")
    // Of noise alone, a prediction of the noise says nothing: it would be divided by zero.
    this.#schedule = readNoiseSchedule(config, this.#type !== "epsilon")
    const trained = this.#schedule.alphaBars.length
    this.#stride = Math.floor(trained / steps)
    this.#finalAlphaBar = config.flag("set_alpha_to_one", true)
      ? 1
      : (this.#schedule.alphaBars[0] ?? 1)
    this.#clip = readClip(config, config.className === "DDIMScheduler")
    this.timesteps = spaceTimesteps({
      kind: config.choice("timestep_spacing", timestepSpacings, "leading"),
      steps,
      trained,
      offset: config.number("steps_offset", 0),
      cleanEnd: "kept",
    }).map(roundHalfEven)
  }

  scaleInput(latents: Float32Array): Float32Array {
    return latents
  }

  step({ index, latents, prediction }: Step): Stepped {
    const timestep = this.timesteps[index] ?? 0
    const alphaBar = this.#schedule.alphaBars[timestep] ?? 1
    const nextAlphaBar = this.#schedule.alphaBars[timestep - this.#stride] ?? this.#finalAlphaBar
    const reading = readPrediction(this.#type, Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar))
    const read = ({ latents: ofLatents, prediction: ofPrediction }: typeof reading.clean) =>
      weightedSum([ofLatents, latents], [ofPrediction, prediction])
    const clean = clipped(read(reading.clean), this.#clip)
    const next = weightedSum(
      [Math.sqrt(nextAlphaBar), clean],
      [Math.sqrt(1 - nextAlphaBar), read(reading.noise)],
    )
    return { latents: next, clean }
  }

  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array {
    const alphaBar = this.#schedule.alphaBars[this.timesteps[index] ?? 0] ?? 1
    return weightedSum([Math.sqrt(alphaBar), clean], [Math.sqrt(1 - alphaBar), noise])
  }
}

/** How far clean latents may reach; without end where they are not clipped. */
export function readClip(config: ConfigReader, clipsByDefault: boolean): number {
  if (!config.flag("clip_sample", clipsByDefault)) return Infinity
  return config.number("clip_sample_range", 1)
}
