import type { Canvas } from "../canvas/canvas.ts"
import { clamp, ramp } from "../canvas/colour.ts"
import { Noise } from "../canvas/noise.ts"
import type { Scene } from "./scene.ts"
import type { Pixel } from "./sky.ts"

/** Water mirrors the rows that are already painted above it. */
export class Water {
  readonly #scene: Scene
  readonly #noise: Noise
  readonly #canvas: Canvas
  readonly #shore: number

  constructor(scene: Scene, canvas: Canvas) {
    this.#scene = scene
    this.#canvas = canvas
    this.#noise = new Noise(scene.seed ^ 0x0a7e)
    this.#shore = Math.floor(scene.horizon * canvas.height)
  }

  paint(x: number, y: number, out: Pixel): void {
    const { scene, noise } = { scene: this.#scene, noise: this.#noise }
    const { palette, horizon, light } = scene
    const depth = clamp((y - horizon) / (1 - horizon))
    const near = 1 / (depth * 1.5 + 0.05)
    const u = x * near * 1.7
    const v = near * 5.2
    const swell = noise.at(u * 0.7 + 3, v * 1.3)
    const chop = noise.at(u * 2.3, v * 3.1 + swell)
    const ripple = noise.at(u * 5.1 + chop, v * 6.3)
    const wave = swell * 0.5 + chop * 0.34 + ripple * 0.22
    const tall = 0.012 + depth * 0.1
    this.#mirror(
      x + wave * 0.035 * (0.3 + depth),
      2 * horizon - y * 1.0 - Math.abs(wave) * tall,
      out,
    )
    const own = clamp(0.2 + 0.42 * depth + wave * 0.34)
    const deep = 1 - 0.45 * depth
    for (let part = 0; part < 3; part++) {
      out[part]! += (palette.water[part]! * deep - out[part]!) * own
    }
    const path = Math.exp(-Math.abs(x - light.x) / (light.radius * (1.2 + 2.6 * depth)))
    const crest = ramp(0.12, 0.5, wave)
    const glint = path * crest * 0.95 * light.strength * (1 - 0.35 * depth)
    const sheen = path * 0.3 * light.strength
    const foam = ramp(0.4, 0.62, wave) * 0.16 * (0.3 + depth)
    for (let part = 0; part < 3; part++) {
      out[part]! += (palette.horizon[part]! - out[part]!) * sheen
      out[part]! += (palette.sun[part]! - out[part]!) * clamp(glint)
      out[part]! += (palette.horizon[part]! - out[part]!) * foam
    }
    const line = Math.exp(-(y - horizon) * 130) * 0.4
    for (let part = 0; part < 3; part++) {
      out[part]! += (palette.horizon[part]! - out[part]!) * line * (0.35 + 0.65 * path)
    }
  }

  /** The picture above the shore, read between pixels downwards. */
  #mirror(x: number, y: number, out: Pixel): void {
    const { width, height, rgb } = this.#canvas
    const column = Math.round(clamp(x * height + width / 2, 0, width - 1))
    const at = clamp(y * height, 0, Math.max(0, this.#shore - 1))
    const row = Math.floor(at)
    const next = Math.min(row + 1, Math.max(0, this.#shore - 1))
    const share = at - row
    const first = (row * width + column) * 3
    const second = (next * width + column) * 3
    for (let part = 0; part < 3; part++) {
      out[part] = (rgb[first + part]! * (1 - share) + rgb[second + part]! * share) / 255
    }
  }
}
