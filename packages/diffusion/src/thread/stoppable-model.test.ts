import { expect, test } from "vitest"
import type { Model } from "../model.ts"
import { StoppableModel, Stopped } from "./stoppable-model.ts"

const none = { data: new Float32Array(), dims: [0] }

test("No network is called any more once nobody wants the pictures", async () => {
  const calls: string[] = []
  const called = async (name: string) => {
    calls.push(name)
    return none
  }
  const model: Model = {
    facts: {
      latentChannels: 4,
      inputChannels: 4,
      downscale: 8,
      nativeSide: 64,
      vae: { scale: 1, shift: 0 },
      schedulerConfig: {},
      guidanceEmbedded: false,
    },
    encodeText: async () => ({ hidden: await called("encodeText") }),
    denoise: async () => await called("denoise"),
    decode: async () => await called("decode"),
    encode: async () => await called("encode"),
  }
  const stop = new SharedArrayBuffer(4)
  const stoppable = new StoppableModel(model, stop)
  expect(stoppable.facts).toBe(model.facts)
  const text = await stoppable.encodeText([""])
  await stoppable.encode(none)
  await stoppable.denoise(none, 1, text)
  await stoppable.decode(none)
  expect(calls).toEqual(["encodeText", "encode", "denoise", "decode"])

  Atomics.store(new Int32Array(stop), 0, 1)
  await expect(stoppable.encodeText([""])).rejects.toThrow(Stopped)
  await expect(stoppable.encode(none)).rejects.toThrow(Stopped)
  await expect(stoppable.denoise(none, 1, text)).rejects.toThrow(Stopped)
  await expect(stoppable.decode(none)).rejects.toThrow(Stopped)
  expect(calls).toHaveLength(4)
})
