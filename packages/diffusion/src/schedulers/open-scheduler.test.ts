import { describe, expect, test } from "vitest"
import { DiffusionError } from "../diffusion-error.ts"
import type { SchedulerName } from "../job.ts"
import { openScheduler } from "./open-scheduler.ts"
import type { RawConfig } from "./scheduler-config.ts"

function open(config: RawConfig, name?: SchedulerName, steps = 4) {
  return openScheduler({ config, name, steps, latentsOfPicture: 64 })
}

function refusalOf(config: RawConfig, name?: SchedulerName, steps?: number) {
  try {
    open(config, name, steps)
  } catch (error) {
    if (error instanceof DiffusionError) return error.refusal
    throw error
  }
  throw new Error("it was opened")
}

describe("which scheduler", () => {
  test.each([
    ["DDIMScheduler", "ddim"],
    ["EulerDiscreteScheduler", "euler"],
    ["DPMSolverMultistepScheduler", "dpm-solver++"],
    ["LCMScheduler", "lcm"],
    ["FlowMatchEulerDiscreteScheduler", "flow-match-euler"],
  ])("%s is %s, and the log need not say so", (_class_name, name) => {
    const { scheduler, notice } = open({ _class_name })
    expect(scheduler.name).toBe(name)
    expect(notice).toBeUndefined()
  })

  test("a solver of the same equation is stood for by DPM-Solver++, with a line that names it", () => {
    const { scheduler, notice } = open({ _class_name: "PNDMScheduler", skip_prk_steps: true })
    expect(scheduler.name).toBe("dpm-solver++")
    expect(notice).toContain("PNDMScheduler")
  })

  test("one that is asked for runs on the model's noise schedule", () => {
    const config = { _class_name: "PNDMScheduler", beta_end: 0.012, num_train_timesteps: 500 }
    const { scheduler } = open(config, "euler")
    expect(scheduler.name).toBe("euler")
    expect(scheduler.timesteps[0]).toBe(499)
  })

  test("DDIM in place of another does not clip, whatever its own class would do [no clip_sample]", () => {
    const latents = Float32Array.of(40)
    const step = { index: 0, latents, prediction: Float32Array.of(0) }
    const clean = (config: RawConfig) => open(config, "ddim").scheduler.step(step).clean[0]
    expect(clean({ _class_name: "DDIMScheduler" })).toBe(1)
    expect(clean({ _class_name: "EulerDiscreteScheduler" })).toBeGreaterThan(40)
  })
})

describe("what is refused", () => {
  test.each([
    [
      "an unknown class",
      { _class_name: "EulerAncestralDiscreteScheduler" },
      "DDIMScheduler, Euler",
    ],
    ["a word that every object knows", { _class_name: "constructor" }, '"constructor" is not'],
    ["no class", {}, "_class_name is missing"],
    ["thresholding", { _class_name: "DDIMScheduler", thresholding: true }, "thresholding = true"],
    [
      "a solver of the third order",
      { _class_name: "DPMSolverMultistepScheduler", solver_order: 3 },
      "solver_order = 3",
    ],
    [
      "noise in DPM-Solver++",
      { _class_name: "DPMSolverMultistepScheduler", algorithm_type: "sde-dpmsolver++" },
      "algorithm_type",
    ],
    [
      "an unknown prediction",
      { _class_name: "DDIMScheduler", prediction_type: "flow" },
      "epsilon, v_prediction, sample",
    ],
    ["a number that is none", { _class_name: "DDIMScheduler", beta_start: "0.1" }, "beta_start"],
    [
      "no timesteps",
      { _class_name: "DDIMScheduler", num_train_timesteps: 0 },
      "num_train_timesteps",
    ],
    [
      "betas of another length",
      { _class_name: "DDIMScheduler", trained_betas: [0.1, 0.2] },
      "2 numbers, not 1000",
    ],
    [
      "a said variance",
      { _class_name: "DDIMScheduler", variance_type: "learned_range" },
      "variance",
    ],
  ])("%s", (_what, config, said) => {
    const refusal = refusalOf(config)
    expect(refusal.type).toBe("model_fault")
    expect(refusal.message).toContain("scheduler/scheduler_config.json")
    expect(refusal.message).toContain(said)
  })

  test("flow matching on a model that predicts none, and the other way round", () => {
    const ofNoise = refusalOf({ _class_name: "DDIMScheduler" }, "flow-match-euler")
    expect(ofNoise.message).toContain("it predicts no flow")
    const ofFlow = refusalOf({ _class_name: "FlowMatchEulerDiscreteScheduler" }, "euler")
    expect(ofFlow.message).toContain("only flow-match-euler")
    expect(ofFlow).toMatchObject({ type: "feature_not_supported", field: "scheduler" })
  })

  test.each([
    ["LCMScheduler", 51, 50],
    ["DDIMScheduler", 1_001, 1_000],
    ["DPMSolverMultistepScheduler", 1_001, 1_000],
  ])("more steps than %s has [%i]", (_class_name, steps, stepsMax) => {
    const refusal = refusalOf({ _class_name }, undefined, steps)
    expect(refusal).toMatchObject({ type: "feature_not_supported", field: "num_inference_steps" })
    expect(refusal.message).toContain(`at most ${stepsMax}`)
  })
})
