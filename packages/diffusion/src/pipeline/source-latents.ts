import assert from "node:assert/strict"
import { DiffusionError } from "../diffusion-error.ts"
import type { Model } from "../model.ts"
import type { Tensor } from "../tensor.ts"
import type { Size } from "./work-size.ts"

/** A picture to start from, as the caller gave it, brought to the size at which the model works. */
export interface SourcePicture {
  /** `[1, 3, height, width]` in -1…1. */
  picture: Tensor
  /** `[1, 1, height, width]`: from 0.5 on it is painted over, below it stays. */
  mask?: Tensor | undefined
  /** 0 leaves the picture, 1 leaves nothing of it. */
  strength: number
}

/** The same as the denoiser sees it. */
export interface Source {
  strength: number
  /** Of one picture: `[channels, height, width]`. */
  clean: Float32Array
  /** `[height, width]` of the latents: 1 is painted over, 0 stays. */
  mask?: Float32Array
  /** What an inpainting model reads beside the latents: the mask, then the latents of the picture without what is masked. */
  extra?: Float32Array
}

/** Null where there is nothing to start from. */
export async function encodeSource(
  model: Model,
  source: SourcePicture | undefined,
  size: Size,
  signal: AbortSignal | undefined,
): Promise<Source | null> {
  const { facts } = model
  const paintsUnderMask = facts.inputChannels !== facts.latentChannels
  if (paintsUnderMask && source?.mask === undefined) {
    throw new DiffusionError({
      type: "feature_not_supported",
      field: "mask_url",
      message: "This model only paints under a mask of a picture",
    })
  }
  if (source === undefined) return null
  const { picture, mask, strength } = source
  assert.deepEqual(picture.dims, [1, 3, size.height, size.width], "a picture has the work's size")
  const encode = async (pixels: Tensor) => {
    signal?.throwIfAborted()
    return scaleLatents(await model.encode(pixels), facts.vae)
  }
  const clean = await encode(picture)
  if (mask === undefined) return { strength, clean }
  assert.deepEqual(mask.dims, [1, 1, size.height, size.width], "a mask has the picture's size")
  const latentMask = shrinkMask(mask, facts.downscale)
  if (!paintsUnderMask) return { strength, clean, mask: latentMask }
  const masked = await encode({ data: hideMasked(picture.data, mask.data), dims: picture.dims })
  const extra = new Float32Array(latentMask.length + masked.length)
  extra.set(latentMask)
  extra.set(masked, latentMask.length)
  // The model itself keeps what is not masked: it sees it.
  return { strength, clean, extra }
}

function scaleLatents({ data }: Tensor, vae: { scale: number; shift: number }): Float32Array {
  return data.map((value) => (value - vae.shift) * vae.scale)
}

/** The pixel in the upper left corner of each latent decides, as diffusers' `nearest` has it. */
function shrinkMask({ data, dims }: Tensor, downscale: number): Float32Array {
  const [, , rows = 0, columns = 0] = dims
  const height = rows / downscale
  const width = columns / downscale
  const small = new Float32Array(height * width)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      small[y * width + x] = isMasked(data[(y * columns + x) * downscale]) ? 1 : 0
    }
  }
  return small
}

/** Grey, the middle of -1…1, where the mask is. */
function hideMasked(pixels: Float32Array, mask: Float32Array): Float32Array {
  return pixels.map((value, at) => (isMasked(mask[at % mask.length]) ? 0 : value))
}

function isMasked(value = 0): boolean {
  return value >= 0.5
}
