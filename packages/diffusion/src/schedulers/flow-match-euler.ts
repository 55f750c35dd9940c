import type { Scheduler, Step, Stepped } from "../scheduler.ts"
import type { ConfigReader } from "./scheduler-config.ts"
import { weightedSum } from "./weighted-sum.ts"

const trainStepsMax = 100_000

/**
 * Euler's method along the straight way from noise to picture (Esser and others 2024): latents are
 * `(1 - sigma) · clean + sigma · noise`, and the denoiser says `noise - clean`. `FlowMatchEulerDiscreteScheduler` of diffusers.
 */
export class FlowMatchEuler implements Scheduler {
  readonly name = "flow-match-euler"
  readonly timesteps: readonly number[]
  readonly initNoiseSigma = 1
  readonly addsNoise = false
  /** Of each step, and the 0 that the last step leads to. */
  readonly #sigmas: readonly number[]

  /** `latentsOfPicture`: how many places the latents of one picture have, for models that shift by it. */
  constructor(config: ConfigReader, steps: number, latentsOfPicture: number) {
    config.refuse(["use_karras_sigmas", "shift_terminal", "invert_sigmas", "stochastic_sampling"])
    const trained = config.count("num_train_timesteps", 1_000, trainStepsMax)
    const shift = readShift(config, latentsOfPicture)
    // Where the shift is fixed, diffusers shifts the ends of the way as well, and then all of it once more.
    const first = shift.fixed ? shift.apply(1) : 1
    const last = shift.fixed ? shift.apply(1 / trained) : 1 / trained
    const sigmas = Array.from({ length: steps }, (_, at) =>
      shift.apply(steps === 1 ? first : first + ((last - first) * at) / (steps - 1)),
    )
    this.timesteps = sigmas.map((sigma) => sigma * trained)
    this.#sigmas = [...sigmas, 0]
  }

  scaleInput(latents: Float32Array): Float32Array {
    return latents
  }

  step({ index, latents, prediction }: Step): Stepped {
    const sigma = this.#sigma(index)
    return {
      latents: weightedSum([1, latents], [this.#sigma(index + 1) - sigma, prediction]),
      clean: weightedSum([1, latents], [-sigma, prediction]),
    }
  }

  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array {
    const sigma = this.#sigma(index)
    return weightedSum([1 - sigma, clean], [sigma, noise])
  }

  #sigma(index: number): number {
    return this.#sigmas[index] ?? 0
  }
}

interface Shift {
  fixed: boolean
  apply(sigma: number): number
}

const by = (factor: number) => (sigma: number) => (factor * sigma) / (1 + (factor - 1) * sigma)

/** Larger pictures stay noisy for longer: by a fixed factor, or by one that grows with the picture (`use_dynamic_shifting`). */
function readShift(config: ConfigReader, latentsOfPicture: number): Shift {
  if (!config.flag("use_dynamic_shifting", false)) {
    return { fixed: true, apply: by(config.number("shift", 1)) }
  }
  const base = {
    tokens: config.number("base_image_seq_len", 256),
    shift: config.number("base_shift", 0.5),
  }
  const slope =
    (config.number("max_shift", 1.15) - base.shift) /
    (config.number("max_image_seq_len", 4_096) - base.tokens)
  // The transformers that shift so read latents in patches of two by two.
  const mu = base.shift + slope * (latentsOfPicture / 4 - base.tokens)
  const kind = config.choice("time_shift_type", ["exponential", "linear"], "exponential")
  return { fixed: false, apply: by(kind === "exponential" ? Math.exp(mu) : mu) }
}
