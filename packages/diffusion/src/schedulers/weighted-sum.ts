/** `weightedSum([0.5, latents], [2, noise])`: number by number, in the order of the terms, rounded once. */
export function weightedSum(
  [firstWeight, first]: readonly [number, Float32Array],
  [secondWeight, second]: readonly [number, Float32Array],
  third?: readonly [number, Float32Array],
): Float32Array {
  const sum = new Float32Array(first.length)
  if (third === undefined) {
    for (let at = 0; at < sum.length; at++) {
      sum[at] = firstWeight * (first[at] ?? 0) + secondWeight * (second[at] ?? 0)
    }
    return sum
  }
  const [thirdWeight, values] = third
  for (let at = 0; at < sum.length; at++) {
    sum[at] =
      firstWeight * (first[at] ?? 0) +
      secondWeight * (second[at] ?? 0) +
      thirdWeight * (values[at] ?? 0)
  }
  return sum
}

/** Each number brought into `-limit … limit`. */
export function clipped(values: Float32Array, limit: number): Float32Array {
  return values.map((value) => Math.min(Math.max(value, -limit), limit))
}
