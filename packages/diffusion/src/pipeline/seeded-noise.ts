/** Where the random numbers of one picture come from, in the order in which it asks for them. */
export interface NoiseSource {
  /** Fills `target` with the next numbers of a standard normal distribution. */
  drawInto(target: Float32Array): void
}

/**
 * The noise of a seed: the same numbers on every machine, in every version (docs/decisions/017-seeded-latents.md).
 * `new SeededNoise("42").drawInto(latents)`.
 *
 * - The seed is a decimal integer of any size; its lowest 64 bits count, negative ones in two's complement.
 * - SplitMix64 makes two words of 64 bits of it, the state of xoshiro128** (Blackman and Vigna 2021): the low half of the
 *   first, its high half, the same of the second.
 * - Two outputs, as signed integers over 2³¹, are a point; those in the unit circle give two normal numbers each (Marsaglia's
 *   polar method), the first of which is given first; each is rounded to 32 bits.
 *
 * No function of it may differ between platforms: beside integer operations there are only +, -, ·, / and the square root,
 * which IEEE 754 rounds in one way.
 */
export class SeededNoise implements NoiseSource {
  readonly #bits: Xoshiro128
  /** The second number of a point whose first one has been given. */
  #kept: number | undefined

  constructor(seed: string) {
    this.#bits = new Xoshiro128(expandSeed(seed))
  }

  drawInto(target: Float32Array): void {
    for (let at = 0; at < target.length; at++) target[at] = this.#next()
  }

  #next(): number {
    if (this.#kept !== undefined) {
      const kept = this.#kept
      this.#kept = undefined
      return kept
    }
    for (;;) {
      const x = (this.#bits.next() | 0) / 2 ** 31
      const y = (this.#bits.next() | 0) / 2 ** 31
      const square = x * x + y * y
      if (square >= 1 || square === 0) continue
      const stretch = Math.sqrt((-2 * logarithm(square)) / square)
      this.#kept = y * stretch
      return x * stretch
    }
  }
}

/** xoshiro128** 1.1: 32 bits an output, a period of 2¹²⁸ - 1. */
export class Xoshiro128 {
  readonly #state: Int32Array

  constructor(words: readonly [number, number, number, number]) {
    this.#state = Int32Array.from(words)
  }

  /** In 0…2³² - 1. */
  next(): number {
    const state = this.#state
    const [a = 0, b = 0, c = 0, d = 0] = state
    const output = Math.imul(rotate(Math.imul(b, 5), 7), 9)
    const mixedC = c ^ a
    const mixedD = d ^ b
    state[0] = a ^ mixedD
    state[1] = b ^ mixedC
    state[2] = mixedC ^ (b << 9)
    state[3] = rotate(mixedD, 11)
    return output >>> 0
  }
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}

function expandSeed(seed: string): [number, number, number, number] {
  const first = splitMix(BigInt(seed) + goldenGamma)
  const second = splitMix(BigInt(seed) + 2n * goldenGamma)
  return [lowHalf(first), lowHalf(first >> 32n), lowHalf(second), lowHalf(second >> 32n)]
}

function lowHalf(word: bigint): number {
  return Number(BigInt.asIntN(32, word))
}

const goldenGamma = 0x9e3779b97f4a7c15n

/** The output of SplitMix64 for a state; exported for its known answers. */
export function splitMix(state: bigint): bigint {
  let mixed = BigInt.asUintN(64, state)
  mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n)
  mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn)
  return mixed ^ (mixed >> 31n)
}

/**
 * The natural logarithm of a number in 0…1, neither included. Not `Math.log`, which may differ in its last bit between engines:
 * the number is doubled until it is near 1, the rest is 2 · artanh((x - 1) / (x + 1)) as a series.
 */
export function logarithm(value: number): number {
  let near = value
  let doublings = 0
  while (near < Math.SQRT1_2) {
    near *= 2
    doublings++
  }
  const ratio = (near - 1) / (near + 1)
  const square = ratio * ratio
  let sum = 0
  // |ratio| < 0.172: what the eleventh term leaves is below the last bit.
  for (let power = 21; power >= 1; power -= 2) sum = sum * square + 1 / power
  return 2 * ratio * sum - doublings * Math.LN2
}
