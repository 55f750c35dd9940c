/** A 32-bit hash of a text (FNV-1a with a final mix), the root of everything that varies between pictures. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return mixBits(hash)
}

function mixBits(value: number): number {
  let mixed = value
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x7feb352d)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

/** A number in [0, 1) that depends on the two integers and the seed only. */
export function hashCell(x: number, y: number, seed: number): number {
  return (
    mixBits(Math.imul(x | 0, 0x27d4eb2d) ^ Math.imul(y | 0, 0x165667b1) ^ (seed | 0)) / 4294967296
  )
}

/** Seeded random numbers in [0, 1): the same seed gives the same sequence on every machine. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0
    return mixBits(this.#state) / 4294967296
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next()
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[Math.floor(this.next() * choices.length)] ?? choices[0]
  }
}

const size = 256
const mask = size - 1

/** Gradient noise and its sums; the texture of everything that is painted. */
export class Noise {
  readonly #order = new Uint8Array(size * 2)
  readonly #gradientX = new Float64Array(size)
  readonly #gradientY = new Float64Array(size)

  constructor(seed: number) {
    const dice = new Dice(seed)
    for (let index = 0; index < size; index++) {
      const angle = dice.next() * Math.PI * 2
      this.#order[index] = index
      this.#gradientX[index] = Math.cos(angle) * 1.5
      this.#gradientY[index] = Math.sin(angle) * 1.5
    }
    for (let index = size - 1; index > 0; index--) {
      const other = Math.floor(dice.next() * (index + 1))
      const kept = this.#order[index]!
      this.#order[index] = this.#order[other]!
      this.#order[other] = kept
    }
    this.#order.copyWithin(size, 0, size)
  }

  /** About -1 to 1, smooth, one bump a unit. */
  at(x: number, y: number): number {
    const cellX = Math.floor(x)
    const cellY = Math.floor(y)
    const fx = x - cellX
    const fy = y - cellY
    const order = this.#order
    const left = order[cellX & mask]! + (cellY & mask)
    const right = order[(cellX + 1) & mask]! + (cellY & mask)
    const a = order[left & 511]!
    const b = order[right & 511]!
    const c = order[(left + 1) & 511]!
    const d = order[(right + 1) & 511]!
    const gx = this.#gradientX
    const gy = this.#gradientY
    const u = fx * fx * fx * (fx * (fx * 6 - 15) + 10)
    const v = fy * fy * fy * (fy * (fy * 6 - 15) + 10)
    const topLeft = gx[a]! * fx + gy[a]! * fy
    const topRight = gx[b]! * (fx - 1) + gy[b]! * fy
    const lowLeft = gx[c]! * fx + gy[c]! * (fy - 1)
    const lowRight = gx[d]! * (fx - 1) + gy[d]! * (fy - 1)
    const top = topLeft + (topRight - topLeft) * u
    const low = lowLeft + (lowRight - lowLeft) * u
    return top + (low - top) * v
  }

  /** Octaves of noise, about -1 to 1. */
  sum(x: number, y: number, octaves: number): number {
    let total = 0
    let amplitude = 0.55
    let px = x
    let py = y
    for (let octave = 0; octave < octaves; octave++) {
      total += this.at(px, py) * amplitude
      amplitude *= 0.5
      const turned = px * 1.62 - py * 1.18 + 13.7
      py = px * 1.18 + py * 1.62 - 7.3
      px = turned
    }
    return total
  }

  /** Octaves folded at zero: sharp crests, 0 to about 1. */
  ridges(x: number, y: number, octaves: number): number {
    let total = 0
    let amplitude = 0.5
    let px = x
    let py = y
    for (let octave = 0; octave < octaves; octave++) {
      const fold = 1 - Math.abs(this.at(px, py))
      total += fold * fold * amplitude
      amplitude *= 0.5
      px = px * 2.03 + 5.1
      py = py * 2.03 + 1.9
    }
    return total
  }
}
