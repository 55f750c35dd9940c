/** Numbers in row-major order, first dimension slowest: a picture is `[batch, channels, height, width]`. */
export interface Tensor {
  readonly data: Float32Array
  readonly dims: readonly number[]
}
