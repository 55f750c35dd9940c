import type { SchedulerName } from "./job.ts"

/**
 * How a denoiser's predictions become a picture, for one number of steps. Pure: what a step needs of the steps before it is in
 * its argument, so a scheduler may be shared by pictures, and a step can be made again. Arrays may hold several pictures, one
 * after the other; none that is given is written to, and `scaleInput` may give back the very one that it got.
 *
 * `schedulers/` holds the adapters, each equal to the class of Python's diffusers that its file names.
 */
export interface Scheduler {
  readonly name: SchedulerName
  /** What the denoiser is told at each step, in the order of the steps: falling. Euler's may lie between two whole numbers. */
  readonly timesteps: readonly number[]
  /** A picture that starts from nothing starts as noise of variance 1 times this. */
  readonly initNoiseSigma: number
  /** Each step but the last wants fresh noise (LCM). */
  readonly addsNoise: boolean
  /** The latents as the denoiser is to see them at the step `index`. */
  scaleInput(latents: Float32Array, index: number): Float32Array
  step(step: Step): Stepped
  /** Clean latents with as much noise as there is before the step `index`: where image-to-image starts. */
  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array
}

export interface Step {
  /** Of `timesteps`. */
  index: number
  latents: Float32Array
  /** What the denoiser said, guidance included. */
  prediction: Float32Array
  /** `clean` of the step before; absent in the first step that is made, whichever its index. */
  previousClean?: Float32Array | undefined
  /** Where `addsNoise`: as many numbers as `latents`. */
  noise?: Float32Array | undefined
}

export interface Stepped {
  latents: Float32Array
  /** What the latents would be if all noise went at once, as far as the denoiser knows by now: what a preview shows. */
  clean: Float32Array
}
