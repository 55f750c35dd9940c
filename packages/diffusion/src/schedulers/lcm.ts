import assert from "node:assert/strict"
import type { Scheduler, Step, Stepped } from "../scheduler.ts"
import { readClip } from "./ddim.ts"
import type { NoiseSchedule } from "./noise-schedule.ts"
import { readNoiseSchedule } from "./noise-schedule.ts"
import { readPrediction } from "./prediction.ts"
import type { ConfigReader, PredictionType } from "./scheduler-config.ts"
import { predictionTypes } from "./scheduler-config.ts"
import { tooManySteps } from "./timestep-spacing.ts"
import { clipped, weightedSum } from "./weighted-sum.ts"

/** The standard deviation of pictures that the boundary condition is made for. */
const sigmaOfData = 0.5

/**
 * Multistep consistency sampling (Luo and others 2023, algorithm 3): each step goes to the clean picture at once and back to a
 * smaller noise. `LCMScheduler` of diffusers.
 */
export class Lcm implements Scheduler {
  readonly name = "lcm"
  readonly timesteps: readonly number[]
  readonly initNoiseSigma = 1
  readonly addsNoise = true
  readonly #schedule: NoiseSchedule
  readonly #type: PredictionType
  readonly #timestepScale: number
  readonly #clip: number

  constructor(config: ConfigReader, steps: number) {
    this.#type = config.choice("prediction_type", predictionTypes, "epsilon")
    // Of noise alone, a prediction of the noise says nothing: it would be divided by zero.
    this.#schedule = readNoiseSchedule(config, this.#type !== "epsilon")
    this.#timestepScale = config.number("timestep_scaling", 10)
    this.#clip = readClip(config, false)
    const trained = this.#schedule.alphaBars.length
    const distilled = config.count("original_inference_steps", 50, trained)
    if (steps > distilled) throw tooManySteps(steps, distilled)
    const stride = Math.floor(trained / distilled)
    // A subset of the timesteps that the model was distilled on, from the noisiest.
    this.timesteps = Array.from(
      { length: steps },
      (_, at) => (distilled - Math.floor((at * distilled) / steps)) * stride - 1,
    )
  }

  scaleInput(latents: Float32Array): Float32Array {
    return latents
  }

  step({ index, latents, prediction, noise }: Step): Stepped {
    const timestep = this.timesteps[index] ?? 0
    const alphaBar = this.#alphaBar(index)
    const { clean: shares } = readPrediction(
      this.#type,
      Math.sqrt(alphaBar),
      Math.sqrt(1 - alphaBar),
    )
    const predicted = clipped(
      weightedSum([shares.latents, latents], [shares.prediction, prediction]),
      this.#clip,
    )
    const time = timestep * this.#timestepScale
    const ofLatents = sigmaOfData ** 2 / (time ** 2 + sigmaOfData ** 2)
    const ofPredicted = time / Math.hypot(time, sigmaOfData)
    const clean = weightedSum([ofPredicted, predicted], [ofLatents, latents])
    if (index === this.timesteps.length - 1) return { latents: clean, clean }
    assert(noise !== undefined, "a step of LCM before the last needs noise")
    return { latents: this.addNoise(clean, noise, index + 1), clean }
  }

  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array {
    const alphaBar = this.#alphaBar(index)
    return weightedSum([Math.sqrt(alphaBar), clean], [Math.sqrt(1 - alphaBar), noise])
  }

  #alphaBar(index: number): number {
    return this.#schedule.alphaBars[this.timesteps[index] ?? 0] ?? 1
  }
}
