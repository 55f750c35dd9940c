import type { Tensor } from "../tensor.ts"
import type { Raster } from "./source.ts"

/** A picture as networks read it: `[1, 3, height, width]` in -1…1. */
export function toTensor({ width, height, rgb }: Raster): Tensor {
  const plane = width * height
  const data = new Float32Array(3 * plane)
  for (let place = 0; place < plane; place++) {
    for (let colour = 0; colour < 3; colour++) {
      data[colour * plane + place] = (rgb[place * 3 + colour] ?? 0) / 127.5 - 1
    }
  }
  return { data, dims: [1, 3, height, width] }
}

/** The first picture of a batch. */
export function fromTensor({ data, dims }: Tensor): Raster {
  const [, , height = 0, width = 0] = dims
  const plane = width * height
  const rgb = new Uint8ClampedArray(3 * plane)
  for (let place = 0; place < plane; place++) {
    for (let colour = 0; colour < 3; colour++) {
      // The array rounds and clamps.
      rgb[place * 3 + colour] = ((data[colour * plane + place] ?? 0) + 1) * 127.5
    }
  }
  return { width, height, rgb }
}

/** A mask of one byte a pixel as `[1, 1, height, width]` in 0…1. */
export function maskToTensor(mask: Uint8Array, width: number, height: number): Tensor {
  return { data: Float32Array.from(mask, (value) => value / 255), dims: [1, 1, height, width] }
}

/** What is painted where the mask is white, and the caller's own pixels where it is black. */
export function blend(own: Raster, painted: Raster, mask: Uint8Array): Raster {
  const rgb = own.rgb.map((value, at) => {
    const share = (mask[Math.floor(at / 3)] ?? 0) / 255
    return value + ((painted.rgb[at] ?? 0) - value) * share
  })
  return { width: own.width, height: own.height, rgb }
}
