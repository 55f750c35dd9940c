import type { Model, Text } from "../model.ts"
import type { Scheduler } from "../scheduler.ts"
import type { Tensor } from "../tensor.ts"
import { guide } from "./guidance.ts"
import type { NoiseSource } from "./seeded-noise.ts"
import type { Source } from "./source-latents.ts"

/** Pictures that go through the networks together, from noise to latents. */
export interface Pass {
  model: Model
  scheduler: Scheduler
  /** The first step that is made. */
  start: number
  source: Source | null
  noises: readonly NoiseSource[]
  text: Text
  guidanceScale: number
  /** Whether `text` has a row with the negative prompt for each picture before those with the prompt. */
  guided: boolean
  /** Of the latents: `[pictures, channels, height, width]`. */
  dims: readonly [number, number, number, number]
  signal: AbortSignal | undefined
  /** `made` counts from 1. */
  onStep(made: number, report: { latents: Tensor; clean: Tensor }): Promise<void>
}

/** Every array that it reports stays as it is: each step makes new ones. */
export async function runPass(pass: Pass): Promise<Tensor> {
  const { scheduler, source, dims } = pass
  const last = scheduler.timesteps.length - 1
  const noise = drawNoise(pass)
  const picture = source === null ? null : repeat(source.clean, dims[0])
  const predict = makePredictor(pass)
  let latents = startLatents(pass, picture, noise)
  let previousClean: Float32Array | undefined
  for (let index = pass.start; index <= last; index++) {
    const prediction = await predict(latents, index)
    const freshNoise = scheduler.addsNoise && index < last ? drawNoise(pass) : undefined
    const step = { index, latents, prediction, previousClean, noise: freshNoise }
    const stepped = scheduler.step(step)
    latents = stepped.latents
    let { clean } = stepped
    // What the denoiser thought itself, under the mask and beside it, is what the next step builds on.
    previousClean = clean
    if (picture !== null && source?.mask !== undefined) {
      const kept = index < last ? scheduler.addNoise(picture, noise, index + 1) : picture
      latents = keepUnmasked(latents, kept, source.mask)
      clean = keepUnmasked(clean, picture, source.mask)
    }
    await pass.onStep(index - pass.start + 1, {
      latents: { data: latents, dims },
      clean: { data: clean, dims },
    })
  }
  return { data: latents, dims }
}

/** Each picture's from its own source, so that it does not depend on which pictures are made beside it. */
function drawNoise({ noises, dims: [, channels, height, width] }: Pass): Float32Array {
  const length = channels * height * width
  const noise = new Float32Array(noises.length * length)
  for (const [at, source] of noises.entries()) {
    source.drawInto(noise.subarray(at * length, (at + 1) * length))
  }
  return noise
}

function startLatents(
  { scheduler, start, source }: Pass,
  picture: Float32Array | null,
  noise: Float32Array,
): Float32Array {
  const underMask = source?.mask !== undefined || source?.extra !== undefined
  // A mask at full strength starts from nothing; a picture alone leaves a trace of itself even then, as in diffusers.
  if (source === null || picture === null || (underMask && source.strength >= 1)) {
    return noise.map((value) => value * scheduler.initNoiseSigma)
  }
  return start < scheduler.timesteps.length ? scheduler.addNoise(picture, noise, start) : picture
}

/** What the denoiser says of latents at a step. Its input is filled anew each time: it is the largest array here. */
function makePredictor(
  pass: Pass,
): (latents: Float32Array, index: number) => Promise<Float32Array> {
  const { model, scheduler, source, text, guidanceScale, guided, signal } = pass
  const [pictures, channels, height, width] = pass.dims
  const { inputChannels, guidanceEmbedded } = model.facts
  const rows = guided ? 2 * pictures : pictures
  const latentLength = channels * height * width
  const rowLength = inputChannels * height * width
  const input = {
    data: new Float32Array(rows * rowLength),
    dims: [rows, inputChannels, height, width],
  }
  if (source?.extra !== undefined) {
    for (let row = 0; row < rows; row++)
      input.data.set(source.extra, row * rowLength + latentLength)
  }
  return async (latents, index) => {
    const scaled = scheduler.scaleInput(latents, index)
    for (let row = 0; row < rows; row++) {
      const from = (row % pictures) * latentLength
      input.data.set(scaled.subarray(from, from + latentLength), row * rowLength)
    }
    signal?.throwIfAborted()
    const timestep = scheduler.timesteps[index] ?? 0
    const guidance = guidanceEmbedded ? guidanceScale : undefined
    const { data } = await model.denoise(input, timestep, text, guidance)
    return guided ? guide(data, guidanceScale) : data
  }
}

/** `painted` where the mask is 1, `kept` where it is 0. */
function keepUnmasked(painted: Float32Array, kept: Float32Array, mask: Float32Array): Float32Array {
  return painted.map((value, at) => (mask[at % mask.length] === 0 ? (kept[at] ?? 0) : value))
}

function repeat(values: Float32Array, times: number): Float32Array {
  const repeated = new Float32Array(values.length * times)
  for (let time = 0; time < times; time++) repeated.set(values, time * values.length)
  return repeated
}
