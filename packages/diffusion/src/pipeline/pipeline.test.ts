import assert from "node:assert/strict"
import { describe, expect, test } from "vitest"
import { DiffusionError } from "../diffusion-error.ts"
import type { Model, ModelFacts } from "../model.ts"
import type { Tensor } from "../tensor.ts"
import type { Generation, StepReport } from "./pipeline.ts"
import { generatePictures, startOf } from "./pipeline.ts"
import { SeededNoise } from "./seeded-noise.ts"

const facts: ModelFacts = {
  latentChannels: 4,
  inputChannels: 4,
  downscale: 2,
  nativeSide: 8,
  vae: { scale: 0.5, shift: 0.25 },
  schedulerConfig: { _class_name: "EulerDiscreteScheduler", prediction_type: "v_prediction" },
  guidanceEmbedded: false,
}

/**
 * A model that is a little arithmetic: pictures are their latents' first three channels with doubled sides, and the text is its
 * prompt's length. Each row depends on nothing but itself. `parity.test.ts` has real networks.
 */
class PlainModel implements Model {
  readonly facts: ModelFacts
  readonly calls: string[] = []
  readonly guidances: (number | undefined)[] = []

  constructor(more: Partial<ModelFacts> = {}) {
    this.facts = { ...facts, ...more }
  }

  async encodeText(prompts: readonly string[]) {
    this.calls.push("encodeText")
    const lengths = Float32Array.from(prompts, (prompt) => prompt.length)
    return { hidden: { data: lengths, dims: [prompts.length, 1, 1] } }
  }

  async denoise(input: Tensor, timestep: number, text: { hidden: Tensor }, guidance?: number) {
    const [rows = 0, , height = 0, width = 0] = input.dims
    this.calls.push(`denoise ${rows}`)
    this.guidances.push(guidance)
    assert.equal(text.hidden.dims[0], rows, "a row of text a row of latents")
    const rowLength = input.data.length / rows
    const length = this.facts.latentChannels * height * width
    const data = new Float32Array(rows * length)
    for (let at = 0; at < data.length; at++) {
      const row = Math.floor(at / length)
      const seen = input.data[row * rowLength + (at % length)] ?? 0
      data[at] = Math.sin(seen + timestep) + 0.1 * (text.hidden.data[row] ?? 0)
    }
    return { data, dims: [rows, this.facts.latentChannels, height, width] }
  }

  async decode(latents: Tensor) {
    const [rows = 0, , height = 0, width = 0] = latents.dims
    this.calls.push(`decode ${rows}`)
    const data = Float32Array.from({ length: 3 * 4 * height * width }, (_, at) => {
      const [x, y] = [at % (2 * width), Math.floor(at / (2 * width)) % (2 * height)]
      const channel = Math.floor(at / (4 * width * height))
      const place = (channel * height + Math.floor(y / 2)) * width + Math.floor(x / 2)
      return latents.data[place] ?? 0
    })
    return { data, dims: [rows, 3, 2 * height, 2 * width] }
  }

  async encode({ data, dims: [, , height = 0, width = 0] }: Tensor) {
    this.calls.push("encode")
    const [rows, columns] = [height / 2, width / 2]
    const means = Float32Array.from({ length: 4 * rows * columns }, (_, at) => {
      const [x, y] = [at % columns, Math.floor(at / columns) % rows]
      const channel = Math.min(Math.floor(at / (rows * columns)), 2)
      return data[(channel * height + 2 * y) * width + 2 * x] ?? 0
    })
    return { data: means, dims: [1, 4, rows, columns] }
  }
}

function generation(seeds: readonly string[], more: Partial<Generation> = {}): Generation {
  return {
    prompt: "a red boat",
    negativePrompt: "",
    steps: 4,
    guidanceScale: 3,
    size: { width: 8, height: 8 },
    noises: seeds.map((seed) => new SeededNoise(seed)),
    ...more,
  }
}

const wave: Tensor = {
  data: Float32Array.from({ length: 3 * 64 }, (_, at) => Math.sin(at)),
  dims: [1, 3, 8, 8],
}
/** The right half is painted over. */
const rightHalf: Tensor = {
  data: Float32Array.from({ length: 64 }, (_, at) => (at % 8 < 4 ? 0.4 : 0.6)),
  dims: [1, 1, 8, 8],
}

describe("several pictures", () => {
  test("each is what its seed makes alone, whatever is made beside it [3, two together]", async () => {
    const together = await generatePictures(
      new PlainModel(),
      generation(["1", "2", "3"], { togetherMax: 2 }),
    )
    const alone = await Promise.all(
      ["1", "2", "3"].map(
        async (seed) => await generatePictures(new PlainModel(), generation([seed])),
      ),
    )
    expect(together).toEqual(alone.flat())
    expect(new Set(together.map(({ data }) => data[0])).size).toBe(3)
  })

  test("so is one whose scheduler draws noise at every step [LCM]", async () => {
    const lcm = { scheduler: "lcm" as const }
    const [, second] = await generatePictures(new PlainModel(), generation(["1", "2"], lcm))
    expect([second]).toEqual(await generatePictures(new PlainModel(), generation(["2"], lcm)))
  })

  test("the networks see no more rows than the limit, twice with guidance", async () => {
    const model = new PlainModel()
    await generatePictures(model, generation(["1", "2", "3"], { togetherMax: 2, steps: 1 }))
    expect(model.calls).toEqual([
      ...["encodeText", "denoise 4", "decode 1", "decode 1"],
      ...["denoise 2", "decode 1"],
    ])
  })
})

describe("guidance", () => {
  test.each([
    [1, "denoise 1"],
    [0, "denoise 1"],
    [1.01, "denoise 2"],
  ])("of %f is one call a step [%s]", async (guidanceScale, call) => {
    const model = new PlainModel()
    await generatePictures(model, generation(["1"], { guidanceScale, steps: 1 }))
    expect(model.calls).toContain(call)
    expect(model.guidances).toEqual([undefined])
  })

  test("is told to a model that takes it as an input, in one row", async () => {
    const model = new PlainModel({ guidanceEmbedded: true })
    await generatePictures(model, generation(["1"], { guidanceScale: 8, steps: 1 }))
    expect(model.calls).toContain("denoise 1")
    expect(model.guidances).toEqual([8])
  })

  test("weighs the negative prompt", async () => {
    const [without] = await generatePictures(new PlainModel(), generation(["1"]))
    const other = generation(["1"], { negativePrompt: "grey" })
    const [withOne] = await generatePictures(new PlainModel(), other)
    expect(withOne).not.toEqual(without)
  })
})

describe("a step", () => {
  test("is told with its latents, counted over all pictures", async () => {
    const told: StepReport[] = []
    await generatePictures(
      new PlainModel(),
      generation(["1", "2", "3"], { togetherMax: 2, steps: 2 }),
      { onStep: (step) => void told.push(step) },
    )
    expect(told.map(({ step, steps, firstPicture }) => [step, steps, firstPicture])).toEqual([
      ...[
        [1, 4, 0],
        [2, 4, 0],
      ],
      ...[
        [3, 4, 2],
        [4, 4, 2],
      ],
    ])
    expect(told.map(({ latents }) => latents.dims[0])).toEqual([2, 2, 1, 1])
    // Euler's last step goes to what is clean.
    expect(told[1]?.latents.data).toEqual(told[1]?.clean.data)
    expect(told[0]?.latents.data).not.toEqual(told[0]?.clean.data)
  })

  test("waits for its follower, who may end the making", async () => {
    const model = new PlainModel()
    const making = generatePictures(model, generation(["1"]), {
      onStep: async ({ step }) => {
        await Promise.resolve()
        if (step === 2) throw new Error("enough")
      },
    })
    await expect(making).rejects.toThrow("enough")
    expect(model.calls.filter((call) => call.startsWith("denoise"))).toHaveLength(2)
  })

  test.each([0, 1, 3])("is the last one when the signal comes in it [step %i]", async (last) => {
    const model = new PlainModel()
    const stop = new AbortController()
    if (last === 0) stop.abort(new Error("stopped"))
    const making = generatePictures(model, generation(["1"], { steps: 3 }), {
      signal: stop.signal,
      onStep: ({ step }) => {
        if (step === last) stop.abort(new Error("stopped"))
      },
    })
    await expect(making).rejects.toThrow("stopped")
    expect(model.calls).toEqual(
      last === 0 ? [] : ["encodeText", ...Array.from({ length: last }, () => "denoise 2")],
    )
  })
})

describe("a picture to start from", () => {
  const source = { picture: wave, strength: 0.5 }

  test("skips the steps of the noise that it is not given", async () => {
    const told: number[] = []
    await generatePictures(new PlainModel(), generation(["1"], { source }), {
      onStep: ({ steps }) => void told.push(steps),
    })
    expect(told).toEqual([2, 2])
  })

  test.each(["ddim", "euler", "dpm-solver++", "lcm"] as const)(
    "comes back as it was where the strength leaves no step [%s]",
    async (scheduler) => {
      const model = new PlainModel()
      const faint = { picture: wave, strength: 0.1 }
      const given = generation(["1"], { source: faint, scheduler })
      const [picture] = await generatePictures(model, given)
      expect(model.calls).toEqual(["encode", "encodeText", "decode 1"])
      for (const at of [0, 2, 18, 70]) expect(picture?.data[at]).toBeCloseTo(wave.data[at] ?? 0, 5)
    },
  )

  test("is not even encoded when the signal has come before", async () => {
    const model = new PlainModel()
    const signal = AbortSignal.abort(new Error("stopped"))
    const making = generatePictures(model, generation(["1"], { source }), { signal })
    await expect(making).rejects.toThrow("stopped")
    expect(model.calls).toEqual([])
  })

  test.each([0.5, 1])("stays where the mask is below 0.5 [strength %f]", async (strength) => {
    const given = generation(["1"], { source: { picture: wave, mask: rightHalf, strength } })
    const [picture] = await generatePictures(new PlainModel(), given)
    const off = [0, 2, 4, 6].map((x) =>
      Math.abs((picture?.data[16 + x] ?? NaN) - (wave.data[16 + x] ?? NaN)),
    )
    expect(off[0]).toBeLessThan(1e-5)
    expect(off[1]).toBeLessThan(1e-5)
    expect(off[2]).toBeGreaterThan(0.05)
    expect(off[3]).toBeGreaterThan(0.05)
  })

  test("is what a preview shows beside the mask from the first step on", async () => {
    const shown: Float32Array[] = []
    const masked = { picture: wave, mask: rightHalf, strength: 1 }
    await generatePictures(new PlainModel(), generation(["1"], { source: masked }), {
      onStep: ({ clean }) => void shown.push(clean.data.slice(0, 4)),
    })
    for (const clean of shown) expect([...clean.slice(0, 2)]).toEqual([...shown[3]!.slice(0, 2)])
    expect(shown[0]!.slice(2)).not.toEqual(shown[3]!.slice(2))
  })

  test("is no choice for a model that only inpaints", async () => {
    const model = new PlainModel({ inputChannels: 9 })
    const refused = async (more: Partial<Generation>) =>
      await generatePictures(model, generation(["1"], more)).catch((error: unknown) => error)
    for (const more of [{}, { source }]) {
      const error = await refused(more)
      expect(error).toBeInstanceOf(DiffusionError)
      expect(error).toMatchObject({ refusal: { field: "mask_url" } })
    }
  })

  test.each([
    ["ddim", 10, 1, 0],
    ["ddim", 10, 0, 10],
    ["ddim", 5, 0.5, 3],
    ["ddim", 4, 2, 0],
    ["flow-match-euler", 5, 0.5, 2],
    ["flow-match-euler", 10, 0, 10],
  ] as const)("%s of %i steps with strength %f starts at %i", (name, steps, strength, start) => {
    const timesteps = Array.from({ length: steps }, (_, at) => at)
    expect(startOf({ name, timesteps }, strength)).toBe(start)
  })
})

test("another scheduler in place of the model's own is told to the log", async () => {
  const told: string[] = []
  const schedulerConfig = { _class_name: "PNDMScheduler" }
  const model = new PlainModel({ schedulerConfig })
  await generatePictures(model, generation(["1"]), { log: (message) => void told.push(message) })
  expect(told).toEqual([expect.stringContaining("PNDMScheduler")])
})
