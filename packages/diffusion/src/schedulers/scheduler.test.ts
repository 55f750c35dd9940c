import { readFileSync } from "node:fs"
import { describe, expect, test } from "vitest"
import type { Scheduler } from "../scheduler.ts"
import { openScheduler } from "./open-scheduler.ts"
import type { RawConfig } from "./scheduler-config.ts"

/** What diffusers said, on a function in place of a denoiser: `parity/schedulers.py`. */
interface Stored {
  config: RawConfig
  steps: number
  start: number
  timesteps: number[]
  initNoiseSigma: number
  latents: number[][]
}

const stored = JSON.parse(
  readFileSync(new URL("../../parity/fixtures/schedulers.json", import.meta.url), "utf8"),
) as { cases: Stored[] }

const width = 6
const places = Array.from({ length: width }, (_, at) => at)
const noiseOf = (draw: number) =>
  Float32Array.from(places, (at) => Math.cos(3 + draw * 2.1 + 0.9 * at))

function predict(scaled: Float32Array, timestep: number): Float32Array {
  return Float32Array.from(
    places,
    (at) =>
      0.6 * (scaled[at] ?? 0) -
      0.3 * (scaled[width - 1 - at] ?? 0) +
      0.2 * Math.cos(timestep / 200 + at),
  )
}

function open({ config, steps }: Stored): Scheduler {
  return openScheduler({ config, steps, latentsOfPicture: 64 }).scheduler
}

/** The latents before the first step that is made, and after each. */
function run(scheduler: Scheduler, start: number): Float32Array[] {
  const clean = Float32Array.from(places, Math.sin)
  let latents =
    start === 0
      ? noiseOf(0).map((value) => value * scheduler.initNoiseSigma)
      : scheduler.addNoise(clean, noiseOf(0), start)
  const told = [latents]
  let previousClean: Float32Array | undefined
  for (let index = start; index < scheduler.timesteps.length; index++) {
    const timestep = scheduler.timesteps[index] ?? 0
    const prediction = predict(scheduler.scaleInput(latents, index), timestep)
    const noise = noiseOf(index - start + 1)
    const stepped = scheduler.step({ index, latents, prediction, previousClean, noise })
    latents = stepped.latents
    previousClean = stepped.clean
    told.push(latents)
  }
  return told
}

function relativeError(ours: Float32Array, theirs: readonly number[]): number {
  const size = Math.hypot(...theirs) / Math.sqrt(theirs.length)
  const errors = theirs.map((value, at) => Math.abs(value - (ours[at] ?? NaN)))
  return Math.max(...errors) / size
}

describe("as diffusers does it", () => {
  const titled = stored.cases.map((one) => {
    const { _class_name, ...rest } = one.config
    const told = Object.entries(rest).map(([key, value]) => `${key} ${String(value)}`)
    const from = one.start === 0 ? "" : ` from ${one.start}`
    return [`${String(_class_name)}, ${one.steps} steps${from} [${told.join(", ")}]`, one] as const
  })

  test.each(titled)("%s", (_title, one) => {
    const scheduler = open(one)
    expect(scheduler.timesteps).toHaveLength(one.timesteps.length)
    for (const [at, timestep] of one.timesteps.entries()) {
      expect(scheduler.timesteps[at]).toBeCloseTo(timestep, 1)
    }
    expect(scheduler.initNoiseSigma / one.initNoiseSigma).toBeCloseTo(1, 4)
    const ours = run(scheduler, one.start)
    expect(ours).toHaveLength(one.latents.length)
    for (const [at, theirs] of one.latents.entries()) {
      expect(relativeError(ours[at]!, theirs), `step ${at}`).toBeLessThan(5e-5)
    }
  })
})

describe("what a step gives", () => {
  const last = stored.cases.filter(({ steps }) => steps === 6)

  test.each(last.map((one) => [String(one.config["_class_name"]), one] as const))(
    "%s writes to nothing that it was given",
    (_name, one) => {
      const scheduler = open(one)
      const latents = noiseOf(1)
      const prediction = noiseOf(2)
      const noise = noiseOf(3)
      const previousClean = noiseOf(4)
      scheduler.scaleInput(latents, 1)
      scheduler.addNoise(latents, noise, 1)
      scheduler.step({ index: 1, latents, prediction, noise, previousClean })
      expect([latents, prediction, noise, previousClean]).toEqual([1, 2, 3, 4].map(noiseOf))
    },
  )

  test.each(["ddim", "euler", "dpm-solver++", "lcm"] as const)(
    "%s finds the clean picture at once where the prediction is right",
    (name) => {
      const config = {
        _class_name: "DDIMScheduler",
        clip_sample: false,
        prediction_type: "epsilon",
      }
      const wish = { config, name, steps: 4, latentsOfPicture: 64 }
      const { scheduler } = openScheduler(wish)
      const [clean, noise] = [noiseOf(1), noiseOf(2)]
      const latents = scheduler.addNoise(clean, noise, 2)
      const stepped = scheduler.step({ index: 2, latents, prediction: noise, noise })
      for (const at of places) expect(stepped.clean[at]).toBeCloseTo(clean[at]!, 3)
    },
  )
})
