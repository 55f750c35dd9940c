import { type DiffusionError, modelFault } from "../diffusion-error.ts"

/** What a denoiser was trained to say. Flow matching has a scheduler and a configuration of its own. */
export type PredictionType = "epsilon" | "v_prediction" | "sample"
export type TimestepSpacing = "leading" | "trailing" | "linspace"
export type FinalSigma = "zero" | "sigma_min"

export const predictionTypes: readonly PredictionType[] = ["epsilon", "v_prediction", "sample"]
export const timestepSpacings: readonly TimestepSpacing[] = ["leading", "trailing", "linspace"]

/** `scheduler/scheduler_config.json` as it was parsed. */
export type RawConfig = Readonly<Record<string, unknown>>

/**
 * Reads one value at a time, so that each scheduler has the defaults of the class in diffusers whose place it takes: a file says
 * only what differs from its own class's. What it says and nobody here can do is refused; a picture made otherwise than the
 * model's configuration says would look like a bad model.
 */
export class ConfigReader {
  readonly #config: RawConfig

  constructor(config: RawConfig) {
    this.#config = config
  }

  get className(): string | undefined {
    const name = this.#config["_class_name"]
    return typeof name === "string" ? name : undefined
  }

  has(key: string): boolean {
    return this.#config[key] !== undefined && this.#config[key] !== null
  }

  isSet(key: string, value: string): boolean {
    return this.#config[key] === value
  }

  number(key: string, fallback: number): number {
    if (!this.has(key)) return fallback
    const value = this.#config[key]
    if (typeof value === "number" && !Number.isNaN(value)) return value
    throw this.#wrong(key, "is not a number")
  }

  /** A whole number in 1…`max`. */
  count(key: string, fallback: number, max: number): number {
    const value = this.number(key, fallback)
    if (Number.isInteger(value) && value >= 1 && value <= max) return value
    throw this.#wrong(key, `is not a whole number from 1 to ${max}`)
  }

  flag(key: string, fallback: boolean): boolean {
    if (!this.has(key)) return fallback
    const value = this.#config[key]
    if (typeof value === "boolean") return value
    throw this.#wrong(key, "is neither true nor false")
  }

  choice<Choice extends string>(key: string, choices: readonly Choice[], fallback: Choice): Choice {
    if (!this.has(key)) return fallback
    const found = choices.find((choice) => choice === this.#config[key])
    if (found !== undefined) return found
    throw this.#wrong(key, `is not one of ${choices.join(", ")}`)
  }

  numbers(key: string): readonly number[] | undefined {
    if (!this.has(key)) return undefined
    const value = this.#config[key]
    if (Array.isArray(value) && value.every((one) => typeof one === "number")) return value
    throw this.#wrong(key, "is not a list of numbers")
  }

  /** Each of these keys must be absent, null or false. */
  refuse(keys: readonly string[]): void {
    for (const key of keys) {
      if (this.has(key) && this.#config[key] !== false) throw this.#wrong(key, "is not supported")
    }
  }

  #wrong(key: string, objection: string): DiffusionError {
    const value = JSON.stringify(this.#config[key])
    return schedulerFault(`${key} ${value.length > 60 ? "" : `= ${value} `}${objection}`)
  }
}

/** The operator's to mend: the model's folder or the choice of scheduler. */
export function schedulerFault(cause: string): DiffusionError {
  return modelFault("scheduler/scheduler_config.json", cause)
}
