/** What one measurement of several rounds says. */
export interface Spread {
  median: number
  min: number
  max: number
}

/**
 * The value below which this share of the samples lies (nearest rank).
 *
 *     percentile([3, 1, 2], 0.5) // 2
 */
export function percentile(samples: ArrayLike<number>, share: number): number {
  if (samples.length === 0) throw new Error("no sample to take a percentile of")
  const sorted = Float64Array.from(samples).toSorted()
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!
}

/** Median and extremes of the rounds; of an even number of them the mean of the middle two. */
export function spreadOf(rounds: number[]): Spread {
  const sorted = rounds.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.ceil(sorted.length / 2) - 1]
  if (upper === undefined || lower === undefined) throw new Error("no round to sum up")
  return { median: (lower + upper) / 2, min: sorted[0]!, max: sorted.at(-1)! }
}
