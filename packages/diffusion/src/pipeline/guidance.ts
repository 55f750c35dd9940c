import type { Text } from "../model.ts"
import type { Tensor } from "../tensor.ts"

/**
 * The text for `pictures` pictures. With guidance the denoiser runs once on both halves of a batch (Ho and Salimans 2022):
 * first every picture with the negative prompt, then every picture with the prompt.
 */
export function joinGuidedText(text: Text, pictures: number, guided: boolean): Text {
  const rows = Array.from({ length: guided ? 2 * pictures : pictures }, (_, row) =>
    row < pictures ? 0 : 1,
  )
  const hidden = pickRows(text.hidden, rows)
  return text.pooled === undefined ? { hidden } : { hidden, pooled: pickRows(text.pooled, rows) }
}

/** `negative + scale · (positive - negative)`, of a prediction whose first half is the negative prompt's. */
export function guide(prediction: Float32Array, scale: number): Float32Array {
  const half = prediction.length / 2
  const guided = new Float32Array(half)
  for (let at = 0; at < half; at++) {
    const negative = prediction[at] ?? 0
    guided[at] = negative + scale * ((prediction[half + at] ?? 0) - negative)
  }
  return guided
}

function pickRows({ data, dims }: Tensor, rows: readonly number[]): Tensor {
  const [count = 1, ...rest] = dims
  const length = data.length / count
  const picked = new Float32Array(rows.length * length)
  for (const [at, row] of rows.entries()) {
    picked.set(data.subarray(row * length, (row + 1) * length), at * length)
  }
  return { data: picked, dims: [rows.length, ...rest] }
}
