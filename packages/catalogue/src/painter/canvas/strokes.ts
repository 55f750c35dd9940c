import type { Canvas } from "./canvas.ts"
import { Dice, Noise } from "./noise.ts"

const strokesAtOnce = 700

/** The hairs of a brush across its width: one turn of a wave. */
const hairs = Float64Array.from(
  { length: 256 },
  (_, index) => 0.72 + 0.28 * Math.sin((index / 256) * Math.PI * 2),
)

/**
 * Goes over the picture with a brush, broad strokes first, finer ones where detail asks for them. The strokes
 * follow the forms: along edges, and along a slow drift where nothing guides them. Yields the share that is done.
 */
export function* paintStrokes(canvas: Canvas, seed: number, weight: number): Generator<number> {
  const source: Canvas = { ...canvas, rgb: canvas.rgb.slice() }
  const unit = Math.max(1, Math.min(canvas.width, canvas.height) / 768) * Math.min(1.4, weight)
  const layers = [
    { radius: 7 * unit, difference: 0, opacity: 0.55 },
    { radius: 3.6 * unit, difference: 14, opacity: 0.7 },
    { radius: 1.9 * unit, difference: 26, opacity: 0.85 },
  ]
  const dice = new Dice(seed ^ 0x57a0)
  const brush = new Brush(source, canvas, new Noise(seed ^ 0xb105), dice)
  for (const [index, layer] of layers.entries()) {
    const step = layer.radius * 1.4
    const total = Math.ceil(canvas.height / step) * Math.ceil(canvas.width / step)
    let made = 0
    for (let y = 0; y < canvas.height; y += step) {
      for (let x = 0; x < canvas.width; x += step) {
        brush.touch(x, y, step, layer)
        if (++made % strokesAtOnce === 0) yield (index + made / total) / layers.length
      }
    }
  }
  keepDetail(source, canvas, 0.3 / Math.max(1, weight))
  yield 1
}

/** Where the brush was too coarse for the form (an edge, a star, a lit window), the form comes through again. */
function keepDetail(source: Canvas, canvas: Canvas, least: number): void {
  const from = source.rgb
  const to = canvas.rgb
  for (let at = 0; at < to.length; at += 3) {
    const lost =
      Math.abs(from[at]! - to[at]!) +
      Math.abs(from[at + 1]! - to[at + 1]!) +
      Math.abs(from[at + 2]! - to[at + 2]!)
    const keep = lost > 130 ? 0.85 : least + (0.85 - least) * (lost / 130)
    to[at] = to[at]! + (from[at]! - to[at]!) * keep
    to[at + 1] = to[at + 1]! + (from[at + 1]! - to[at + 1]!) * keep
    to[at + 2] = to[at + 2]! + (from[at + 2]! - to[at + 2]!) * keep
  }
}

class Brush {
  readonly #from: Canvas
  readonly #to: Canvas
  readonly #noise: Noise
  readonly #dice: Dice

  constructor(from: Canvas, to: Canvas, noise: Noise, dice: Dice) {
    this.#from = from
    this.#to = to
    this.#noise = noise
    this.#dice = dice
  }

  touch(
    cellX: number,
    cellY: number,
    step: number,
    layer: { radius: number; difference: number; opacity: number },
  ): void {
    const { width, height, rgb } = this.#from
    const x = Math.min(width - 1, Math.floor(cellX + this.#dice.next() * step))
    const y = Math.min(height - 1, Math.floor(cellY + this.#dice.next() * step))
    const tone = (this.#dice.next() - 0.5) * 11
    const at = (y * width + x) * 3
    if (layer.difference > 0) {
      const made = this.#to.rgb
      const off =
        Math.abs(rgb[at]! - made[at]!) +
        Math.abs(rgb[at + 1]! - made[at + 1]!) +
        Math.abs(rgb[at + 2]! - made[at + 2]!)
      if (off < layer.difference) return
    }
    const reach = Math.max(1, Math.round(layer.radius * 0.6))
    const across = this.#tone(x + reach, y) - this.#tone(x - reach, y)
    const down = this.#tone(x, y + reach) - this.#tone(x, y - reach)
    const strength = Math.hypot(across, down)
    const drift = this.#noise.at((x / height) * 2.2, (y / height) * 3) * 0.9
    const along = strength > 9 ? Math.atan2(across, -down) : drift
    const length = layer.radius * (strength > 40 ? 1.6 : 3.2)
    this.#draw(x, y, along, length, layer, [
      rgb[at]! + tone,
      rgb[at + 1]! + tone,
      rgb[at + 2]! + tone,
    ])
  }

  #tone(x: number, y: number): number {
    const { width, height, rgb } = this.#from
    const column = x < 0 ? 0 : x >= width ? width - 1 : x
    const row = y < 0 ? 0 : y >= height ? height - 1 : y
    const at = (row * width + column) * 3
    return rgb[at]! * 0.3 + rgb[at + 1]! * 0.59 + rgb[at + 2]! * 0.11
  }

  #draw(
    x: number,
    y: number,
    along: number,
    length: number,
    layer: { radius: number; opacity: number },
    colour: [number, number, number],
  ): void {
    const { width, height, rgb } = this.#to
    const cos = Math.cos(along)
    const sin = Math.sin(along)
    const half = layer.radius
    const reachX = Math.abs(cos) * length + Math.abs(sin) * half
    const reachY = Math.abs(sin) * length + Math.abs(cos) * half
    const bristle = this.#dice.next() * 256
    const right = Math.min(width - 1, x + reachX)
    const bottom = Math.min(height - 1, y + reachY)
    for (let row = Math.max(0, Math.ceil(y - reachY)); row <= bottom; row++) {
      for (let column = Math.max(0, Math.ceil(x - reachX)); column <= right; column++) {
        const dx = column - x
        const dy = row - y
        const u = (dx * cos + dy * sin) / length
        const v = (dy * cos - dx * sin) / half
        const body = 1 - u * u * u * u - v * v
        if (body <= 0) continue
        const hair = hairs[((v * 9 + u) * 40.74 + bristle) & 255]!
        const share = (body > 0.5 ? 1 : body * 2) * hair * layer.opacity
        const at = (row * width + column) * 3
        const ridge = (hair - 0.72) * 14
        rgb[at] = rgb[at]! + (colour[0] + ridge - rgb[at]!) * share
        rgb[at + 1] = rgb[at + 1]! + (colour[1] + ridge - rgb[at + 1]!) * share
        rgb[at + 2] = rgb[at + 2]! + (colour[2] + ridge - rgb[at + 2]!) * share
      }
    }
  }
}
