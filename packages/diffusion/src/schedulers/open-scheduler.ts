import { DiffusionError } from "../diffusion-error.ts"
import type { SchedulerName } from "../job.ts"
import type { Scheduler } from "../scheduler.ts"
import { Ddim } from "./ddim.ts"
import { DpmSolver } from "./dpm-solver.ts"
import { Euler } from "./euler.ts"
import { FlowMatchEuler } from "./flow-match-euler.ts"
import { Lcm } from "./lcm.ts"
import type { RawConfig } from "./scheduler-config.ts"
import { ConfigReader, schedulerFault } from "./scheduler-config.ts"

/** The classes of diffusers that are here as they are. */
const namesByClass: Readonly<Record<string, SchedulerName>> = {
  DDIMScheduler: "ddim",
  EulerDiscreteScheduler: "euler",
  DPMSolverMultistepScheduler: "dpm-solver++",
  LCMScheduler: "lcm",
  FlowMatchEulerDiscreteScheduler: "flow-match-euler",
}

/**
 * Other solvers of higher order for the same equation: with enough steps all of them come to the same picture, so DPM-Solver++
 * stands for them, and the log says so. What adds noise (ancestral, SDE, DDPM) comes to another one: it is refused by name.
 */
const solvedByDpmSolver: readonly string[] = [
  "PNDMScheduler",
  "LMSDiscreteScheduler",
  "DEISMultistepScheduler",
  "UniPCMultistepScheduler",
  "DPMSolverSinglestepScheduler",
  "HeunDiscreteScheduler",
]

const makers: Readonly<
  Record<SchedulerName, (config: ConfigReader, wish: SchedulerWish) => Scheduler>
> = {
  ddim: (config, { steps }) => new Ddim(config, steps),
  euler: (config, { steps }) => new Euler(config, steps),
  "dpm-solver++": (config, { steps }) => new DpmSolver(config, steps),
  lcm: (config, { steps }) => new Lcm(config, steps),
  "flow-match-euler": (config, { steps, latentsOfPicture }) =>
    new FlowMatchEuler(config, steps, latentsOfPicture),
}

/** No scheduler here does these; a file that asks for one is refused. */
const unsupportedKeys = [
  "thresholding",
  "use_exponential_sigmas",
  "use_beta_sigmas",
  "use_lu_lambdas",
  "use_flow_sigmas",
]

export interface SchedulerWish {
  /** `scheduler/scheduler_config.json`. */
  config: RawConfig
  /** In place of the file's `_class_name`; the noise schedule is the file's in any case. */
  name?: SchedulerName | undefined
  steps: number
  /** Places of one picture's latents: width times height. */
  latentsOfPicture: number
}

export interface OpenedScheduler {
  scheduler: Scheduler
  /** For the log, where another scheduler stands for the file's own. */
  notice?: string
}

/** Throws a `DiffusionError` that says which key or class of the file nobody here can do, or how many steps there can be. */
export function openScheduler(wish: SchedulerWish): OpenedScheduler {
  const config = new ConfigReader(wish.config)
  const { name, notice } = chooseName(config, wish.name)
  config.refuse(unsupportedKeys)
  const variance = wish.config["variance_type"]
  if (typeof variance === "string" && variance.startsWith("learned")) {
    throw schedulerFault("variance_type: a denoiser that says its variance is not supported")
  }
  const scheduler = makers[name](config, wish)
  return notice === undefined ? { scheduler } : { scheduler, notice }
}

function chooseName(
  config: ConfigReader,
  asked: SchedulerName | undefined,
): { name: SchedulerName; notice?: string } {
  const className = config.className
  if (asked !== undefined) {
    const isFlow = className?.startsWith("FlowMatch") ?? false
    if (isFlow === (asked === "flow-match-euler") || className === undefined) return { name: asked }
    const why = isFlow ? "only flow-match-euler can" : "it predicts no flow"
    throw new DiffusionError({
      type: "feature_not_supported",
      field: "scheduler",
      message: `${asked} cannot run a model that was trained for ${className}: ${why}`,
    })
  }
  if (className === undefined) throw schedulerFault("_class_name is missing")
  const own = Object.hasOwn(namesByClass, className) ? namesByClass[className] : undefined
  if (own !== undefined) return { name: own }
  if (solvedByDpmSolver.includes(className)) {
    return {
      name: "dpm-solver++",
      notice: `The model's scheduler is ${className}; DPM-Solver++ solves the same equation in its place.`,
    }
  }
  throw schedulerFault(
    `the scheduler ${JSON.stringify(className)} is not supported. Known are ${Object.keys(namesByClass).join(", ")}, ` +
      `DPM-Solver++ in place of ${solvedByDpmSolver.join(", ")}, and a scheduler named in the request`,
  )
}
