import type { Tensor } from "../tensor.ts"

/** Tensors `[batch, tokens, width]` side by side, as SDXL joins what its two encoders say. */
export function joinColumns(parts: readonly Tensor[]): Tensor {
  const [first] = parts
  if (first === undefined) return { data: new Float32Array(), dims: [0, 0, 0] }
  if (parts.length === 1) return first
  const widths = parts.map(({ dims }) => dims.at(-1) ?? 0)
  const width = widths.reduce((sum, one) => sum + one, 0)
  const [batch = 0, tokens = 0] = first.dims
  const data = new Float32Array(batch * tokens * width)
  let column = 0
  for (const [index, part] of parts.entries()) {
    const own = widths[index]!
    for (let row = 0; row < batch * tokens; row++) {
      data.set(part.data.subarray(row * own, (row + 1) * own), row * width + column)
    }
    column += own
  }
  return { data, dims: [batch, tokens, width] }
}
