import { type Colour, clamp, luminance, mix, ramp } from "../canvas/colour.ts"
import { hashCell, Noise } from "../canvas/noise.ts"
import type { Scene } from "./scene.ts"

/** Where painters write a colour, to spare an allocation a pixel. */
export type Pixel = Float64Array

/** Paints the sky of a scene at any point; lengths in picture heights, x from the middle. */
export class Sky {
  readonly #scene: Scene
  readonly #noise: Noise
  readonly #cloudLit: Colour
  readonly #cloudShade: Colour
  readonly #drift: number

  constructor(scene: Scene) {
    const { palette, darkness } = scene
    this.#scene = scene
    this.#noise = new Noise(scene.seed ^ 0x51c7)
    this.#cloudLit = mix(mix(palette.horizon, palette.sun, 0.45), palette.upper, darkness * 0.35)
    this.#cloudShade = mix(palette.upper, mix(palette.zenith, palette.lower, 0.45), 0.55)
    this.#drift = (scene.seed % 977) / 31
  }

  paint(x: number, y: number, out: Pixel): void {
    this.#gradient(y, out)
    if (this.#scene.stars > 0) this.#stars(x, y, out)
    if (this.#scene.aurora > 0) this.#aurora(x, y, out)
    this.#glow(x, y, out)
    if (this.#scene.clouds > 0) this.#clouds(x, y, out)
  }

  /** Sky without clouds and stars: the colour of the air at the horizon. */
  paintAir(x: number, y: number, out: Pixel): void {
    this.#gradient(y, out)
    const { light, palette } = this.#scene
    const distance = Math.hypot(x - light.x, y - light.y)
    const glow = Math.exp(-distance * 3.2) * 0.55 * light.strength
    for (let part = 0; part < 3; part++) out[part]! += (palette.sun[part]! - out[part]!) * glow
  }

  #gradient(y: number, out: Pixel): void {
    const { palette, horizon } = this.#scene
    const t = clamp(y / horizon)
    const a = ramp(0, 0.5, t)
    const b = ramp(0.3, 0.82, t)
    const c = ramp(0.66, 1.02, t)
    for (let part = 0; part < 3; part++) {
      let value = palette.zenith[part]!
      value += (palette.upper[part]! - value) * a
      value += (palette.lower[part]! - value) * b
      out[part] = value + (palette.horizon[part]! - value) * c
    }
  }

  #glow(x: number, y: number, out: Pixel): void {
    const { light, palette, clouds } = this.#scene
    const dx = x - light.x
    const dy = y - light.y
    const distance = Math.sqrt(dx * dx + dy * dy)
    const wide = Math.exp(-distance * (light.kind === "moon" ? 5.5 : 3.4)) * 0.5
    const close = Math.exp(-distance / (light.radius * 1.5)) * 0.4
    const band = Math.exp(-Math.abs(dy) * 9) * Math.exp(-Math.abs(dx) * 1.5) * 0.22
    const glow = (wide + close + (light.kind === "sun" ? band : 0)) * light.strength
    const soft = 0.0022
    let disc = 1 - ramp(light.radius - soft, light.radius + soft, distance)
    if (light.strength < 1) disc *= 0.35
    if (light.kind === "moon" && disc > 0) {
      const mare = this.#noise.sum(x * 34 + 3, y * 34, 3)
      disc *= 0.9 - 0.16 * ramp(0, 0.5, mare)
    }
    const share = clamp(glow + disc * (1 - clouds * 0.12))
    for (let part = 0; part < 3; part++) out[part]! += (palette.sun[part]! - out[part]!) * share
  }

  #stars(x: number, y: number, out: Pixel): void {
    const { stars, horizon, seed, light } = this.#scene
    const high = 1 - ramp(0.25, 0.92, y / horizon)
    if (high <= 0) return
    const cell = 0.013
    const cx = Math.floor(x / cell)
    const cy = Math.floor(y / cell)
    const lot = hashCell(cx, cy, seed)
    const milky = Math.exp(-((x * 0.5 + y - 0.32) ** 2) * 26) * stars
    if (milky > 0.02) {
      const dust = clamp(this.#noise.sum(x * 5, y * 5, 4) + 0.45) * milky * high * 0.14
      for (let part = 0; part < 3; part++) out[part]! += dust * (part === 2 ? 1.2 : 0.9)
    }
    if (lot > 0.1 + 0.16 * milky) return
    const px = (cx + 0.2 + 0.6 * hashCell(cx, cy, seed + 1)) * cell
    const py = (cy + 0.2 + 0.6 * hashCell(cx, cy, seed + 2)) * cell
    const bright = hashCell(cx, cy, seed + 3) ** 3
    const reach = 0.0009 + bright * 0.0016
    const distance = ((x - px) ** 2 + (y - py) ** 2) / (reach * reach)
    const away = ramp(0.05, 0.2, Math.hypot(x - light.x, y - light.y))
    const shine = Math.exp(-distance) * (0.45 + 0.8 * bright) * high * stars * away
    for (let part = 0; part < 3; part++) out[part]! += shine
  }

  #aurora(x: number, y: number, out: Pixel): void {
    const { horizon, aurora } = this.#scene
    for (let curtain = 0; curtain < 3; curtain++) {
      const bend = this.#noise.sum(x * 1.1 + curtain * 9.7, curtain * 3.1, 3)
      const foot = horizon * (0.72 - curtain * 0.17) + bend * 0.2
      const rise = foot - y
      if (rise < -0.02) continue
      const rays = 0.55 + 0.45 * this.#noise.at(x * 17 + bend * 6, curtain * 5 + y * 0.8)
      const shine = ramp(-0.02, 0.012, rise) * Math.exp(-rise * 6.5) * rays * aurora * 0.85
      const violet = ramp(0.06, 0.26, rise)
      out[0]! += shine * (0.12 + 0.5 * violet)
      out[1]! += shine * (0.95 - 0.75 * violet)
      out[2]! += shine * (0.5 + 0.25 * violet)
    }
  }

  #clouds(x: number, y: number, out: Pixel): void {
    const { horizon, clouds, light, darkness, palette } = this.#scene
    const above = horizon - y
    if (above < -0.02) return
    const flat = 1 / (Math.max(0, above) + 0.16)
    const u = x * flat * 0.62 + this.#drift
    const v = flat * 1.15
    const noise = this.#noise
    const warp = noise.at(u * 0.9 + 7, v * 0.9) * 0.45
    const body = noise.sum(u + warp, v * 1.35 + warp * 0.4, 5)
    const cover = 0.34 - clouds * 0.66
    const density = ramp(cover, cover + 0.5, body) * ramp(0, 0.09, above)
    if (density <= 0.002) return
    const toLight = clamp((light.x - x) * 4, -1, 1) * 0.16
    const next = noise.sum(u + warp + toLight, v * 1.35 + warp * 0.4 + 0.12, 2)
    const near = Math.exp(-Math.hypot((x - light.x) * 0.8, y - light.y) * 2.6) * light.strength
    const thin = 1 - density
    const lit = clamp(0.3 + (body - next) * 0.9 + near * (0.5 + thin * 0.6) - darkness * 0.12)
    const share = density * (0.62 + 0.36 * clouds)
    const edge = thin * near * 0.5
    for (let part = 0; part < 3; part++) {
      let value = this.#cloudShade[part]!
      value += (this.#cloudLit[part]! - value) * lit
      value += (palette.sun[part]! - value) * edge
      out[part]! += (value - out[part]!) * share
    }
  }
}

/** How light a painted pixel is. */
export function lightOf(pixel: Pixel): number {
  return luminance([pixel[0]!, pixel[1]!, pixel[2]!])
}
