import { expect, test } from "vitest"
import type { Job } from "../job.ts"
import type { Model } from "../model.ts"
import type { Tensor } from "../tensor.ts"
import { StoppableModel, Stopped } from "./stoppable-model.ts"
import { carryOut } from "./studio.ts"

function zeros(...dims: number[]): Tensor {
  return { data: new Float32Array(dims.reduce((product, dim) => product * dim, 1)), dims }
}

const job: Job = {
  model: "none",
  prompt: "",
  negativePrompt: "",
  seeds: ["1", "2"],
  steps: 1,
  guidanceScale: 1,
  size: { width: 64, height: 64 },
  format: "png",
  previews: false,
}
const watcher = { log: () => undefined, onStep: async () => undefined }

/** Its pictures are grey; `onDecode` is told how many have been made. */
function makeModel(stop: SharedArrayBuffer, onDecode: (count: number) => void): StoppableModel {
  let count = 0
  const model: Model = {
    facts: {
      latentChannels: 4,
      inputChannels: 4,
      downscale: 8,
      nativeSide: 64,
      vae: { scale: 1, shift: 0 },
      schedulerConfig: { _class_name: "DDIMScheduler" },
      guidanceEmbedded: false,
    },
    encodeText: async () => ({ hidden: zeros(1, 1, 1) }),
    denoise: async ({ dims }) => zeros(...dims),
    decode: async () => {
      onDecode(++count)
      return zeros(1, 3, 64, 64)
    },
    encode: async () => zeros(1, 4, 8, 8),
  }
  return new StoppableModel(model, stop)
}

test("Pictures that nobody wants any more are not enlarged and encoded [stopped after the last network]", async () => {
  const stop = new SharedArrayBuffer(4)
  const model = makeModel(stop, (count) => {
    if (count === 2) Atomics.store(new Int32Array(stop), 0, 1)
  })
  await expect(carryOut(model, job, watcher)).rejects.toThrow(Stopped)
  const wanted = makeModel(new SharedArrayBuffer(4), () => undefined)
  expect(await carryOut(wanted, job, watcher)).toHaveLength(2)
})
