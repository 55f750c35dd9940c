import { DiffusionError } from "../diffusion-error.ts"
import type { TimestepSpacing } from "./scheduler-config.ts"

export interface Spacing {
  kind: TimestepSpacing
  steps: number
  /** Timesteps of the training. */
  trained: number
  /** How many of them are used, from the first: fewer where `lambda_min_clipped` leaves the noisiest out. */
  used?: number
  offset: number
  /** DPM-Solver++ divides the way into `steps` pieces and leaves its clean end out; DDIM and Euler start from `steps` points. */
  cleanEnd: "kept" | "left out"
}

/** The timesteps of a picture, falling, not rounded where they are spread evenly (table 2 of Lin and others 2024). */
export function spaceTimesteps(spacing: Spacing): number[] {
  const { kind, steps, trained, used = trained, offset } = spacing
  if (steps > trained) throw tooManySteps(steps, trained)
  const skipped = spacing.cleanEnd === "kept" ? 0 : 1
  const points = steps + skipped
  const falling = Array.from({ length: steps }, (_, at) => points - 1 - at)
  if (kind === "linspace") {
    return falling.map((at) => (points === 1 ? 0 : ((used - 1) * at) / (points - 1)))
  }
  if (kind === "leading") {
    const stride = Math.floor(used / points)
    const timesteps = falling.map((at) => at * stride + offset)
    if ((timesteps[0] ?? 0) >= trained) throw tooManySteps(steps, trained - 1)
    return timesteps
  }
  const stride = trained / steps
  // Fewer than `steps` where not all are used; a count that is whole but for rounding is that whole number.
  const length = Math.ceil(used / stride - 1e-9)
  return Array.from({ length }, (_, at) => roundHalfEven(used - at * stride) - 1)
}

/** As numpy rounds. `Math.round` takes halves up, and a timestep that is one off is another picture. */
export function roundHalfEven(value: number): number {
  const down = Math.floor(value)
  if (value - down !== 0.5) return Math.round(value)
  return down % 2 === 0 ? down : down + 1
}

export function tooManySteps(steps: number, stepsMax: number): DiffusionError {
  return new DiffusionError({
    type: "feature_not_supported",
    field: "num_inference_steps",
    message: `${steps} steps are more than the model's scheduler has: at most ${stepsMax}`,
  })
}
