import { type Colour, clamp, mix, ramp, scale, tinted } from "../canvas/colour.ts"
import { hashCell, Noise } from "../canvas/noise.ts"
import type { Land, Scene } from "./scene.ts"
import type { Pixel, Sky } from "./sky.ts"

const air = new Float64Array(3)
const meadow: Colour = [0.36, 0.5, 0.22]

/** One range of land with the outline of its crest worked out a column at a time. */
export class Range {
  readonly land: Land
  /** The crest's height in each column, from the top, in picture heights. */
  readonly crest: Float64Array
  /** How far down from the crest trees reach, a column. */
  readonly #woods: Float64Array
  readonly #scene: Scene
  readonly #noise: Noise
  readonly #airs: Float64Array
  readonly #lit: Colour
  readonly #shade: Colour
  readonly #toLight: number

  constructor(scene: Scene, land: Land, sky: Sky, width: number, height: number) {
    this.land = land
    this.#scene = scene
    this.#noise = new Noise(scene.seed ^ Math.imul(land.seed, 0x9e37))
    this.crest = new Float64Array(width)
    this.#woods = new Float64Array(width)
    this.#airs = new Float64Array(width * 3)
    const green = land.kind === "hill" && !scene.snowy && scene.darkness < 0.75
    const base = green
      ? mix(scene.palette.lit, tinted(scene.palette.lit, meadow, 1), 0.35)
      : scene.palette.lit
    const dim = 1 - scene.darkness * 0.45
    this.#lit = scale(base, (land.kind === "forest" ? 0.5 : 0.95) * dim)
    this.#shade = mix(scene.palette.shade, scene.palette.upper, land.kind === "city" ? 0.1 : 0.06)
    this.#toLight = scene.light.x >= 0 ? 1 : -1
    for (let column = 0; column < width; column++) {
      const x = (column + 0.5 - width / 2) / height
      const ground = this.#crestAt(x)
      const copse = land.kind === "hill" && land.air > 0.04 && land.air < 0.6 && !scene.snowy
      this.#woods[column] = copse ? this.#copse(x) : 0
      this.crest[column] = ground - this.#woods[column]!
      sky.paintAir(x, Math.min(scene.horizon, land.base) - 0.06, air)
      this.#airs.set(air, column * 3)
    }
  }

  #crestAt(x: number): number {
    const { kind, base, height, grain, at } = this.land
    const noise = this.#noise
    if (kind === "mountain") {
      const peaks = noise.ridges(x * grain, 0.5, 6)
      const swell = noise.at(x * grain * 0.5 + 9, 3.3)
      return base - height * clamp((peaks - 0.36) * 1.9 + swell * 0.45, 0.02, 1.5)
    }
    if (kind === "headland") {
      const away = (x - at) / (height * 2.1)
      const bump = Math.exp(-(away * away) * 1.4)
      const rock = noise.sum(x * 19, 1.5, 5) * 0.34 * Math.min(1, away * away * 3 + 0.12)
      return base + 0.03 - height * clamp(bump * 1.05 + rock * bump ** 0.5 - 0.04, -0.3, 1.1)
    }
    if (kind === "city") return this.#skyline(x)
    const roll = noise.sum(x * grain, 0.5, 3)
    if (kind === "dune") return base - height * (0.55 + Math.abs(roll) * 0.9)
    const ground = base - height * (0.45 + roll * 0.75)
    return kind === "forest" ? ground - this.#trees(x) : ground
  }

  /** Round trees in groups, as they stand on hills; zero where there are none. */
  #copse(x: number): number {
    const { seed, air: distance } = this.land
    const tall = 0.012 + 0.026 * (1 - distance)
    const cell = tall * 0.3
    const middle = Math.floor(x / cell)
    let tallest = 0
    for (let index = middle - 2; index <= middle + 2; index++) {
      const lot = hashCell(index, 31, seed)
      const grouped = this.#noise.at(index * cell * 2.7, 8.5)
      if (lot > grouped * 2.2 - 0.1) continue
      const centre = (index + 0.2 + 0.6 * hashCell(index, 32, seed)) * cell
      const radius = tall * (0.16 + 0.4 * hashCell(index, 33, seed) ** 2 + 0.14 * grouped)
      const away = Math.abs(x - centre) / radius
      if (away >= 1) continue
      const leaves = 0.3 * this.#noise.sum(x * (7 / tall), index, 2)
      tallest = Math.max(tallest, radius * Math.sqrt(1 - away * away) * (1.5 + leaves))
    }
    return tallest
  }

  #trees(x: number): number {
    const { height, seed } = this.land
    let tallest = 0
    for (let kind = 0; kind < 2; kind++) {
      const cell = height * (kind === 0 ? 0.17 : 0.11)
      const middle = Math.floor(x / cell)
      for (let index = middle - 2; index <= middle + 2; index++) {
        const centre = (index + 0.15 + 0.7 * hashCell(index, kind, seed)) * cell
        const tall =
          height * (0.28 + 0.5 * hashCell(index, kind + 7, seed)) * (kind === 0 ? 1 : 0.7)
        const away = Math.abs(x - centre) / (tall * (0.15 + 0.07 * hashCell(index, kind + 3, seed)))
        const jag = 0.09 * this.#noise.at(x * (30 / height), index)
        tallest = Math.max(tallest, tall * clamp(1 - away + jag * Math.min(1, away * 3)))
      }
    }
    return tallest
  }

  #skyline(x: number): number {
    const { base, height, seed } = this.land
    let tallest = height * 0.08
    for (let row = 0; row < 2; row++) {
      const cell = height * (row === 0 ? 0.2 : 0.29)
      const index = Math.floor(x / cell + row * 0.37)
      const within = x / cell + row * 0.37 - index
      const inset = 0.04 + 0.12 * hashCell(index, row + 4, seed)
      if (within < inset || within > 1 - inset) continue
      const centre = Math.exp(-((x / (this.#scene.aspect * 0.42)) ** 2))
      const lot = hashCell(index, row, seed)
      let tall = height * (0.25 + (0.3 + 0.5 * centre) * lot ** 1.6 + 0.12 * centre)
      const style = hashCell(index, row + 8, seed)
      const off = Math.abs(within - 0.5)
      if (style > 0.72) tall += height * 0.07 * (off < 0.24 ? 1 : 0)
      if (style > 0.86) tall += off < 0.028 ? height * 0.2 * lot : 0
      else if (style < 0.14) tall += height * 0.12 * (0.5 - off)
      tallest = Math.max(tallest, tall)
    }
    return base - tallest
  }

  /** The colour of this range at a point below its crest. */
  paint(x: number, y: number, column: number, out: Pixel): void {
    const { kind, base, air: distance } = this.land
    const below = y - this.crest[column]!
    if (kind === "city") this.#facade(x, y, out)
    else this.#slope(x, y, below, out)
    const wood = this.#woods[column]!
    if (below < wood * 1.06) this.#foliage(x, y, below / wood, out)
    const { fog, horizon } = this.#scene
    const feet =
      ramp(-0.1, 0.03, y - Math.max(base, horizon) + 0.02) * (kind === "city" ? 0.35 : 0.36)
    const mist = clamp(
      distance * (0.5 + 0.5 * fog) + feet * (distance > 0.02 ? fog + distance * 0.5 : 0),
    )
    for (let part = 0; part < 3; part++) {
      out[part]! += (this.#airs[column * 3 + part]! - out[part]!) * mist
    }
  }

  #slope(x: number, y: number, below: number, out: Pixel): void {
    const { kind, height, grain, air: distance } = this.land
    const noise = this.#noise
    const near = 1 - distance
    let light: number
    let white = 0
    if (kind === "mountain") {
      const bend = noise.at(x * 3, y * 3) * 0.3
      const fx = x * grain * 1.9 + bend
      const fy = y * grain * 1.1 + x * 0.5 * this.#toLight
      const slope = noise.ridges(fx, fy, 5) - noise.ridges(fx + 0.07 * this.#toLight, fy - 0.04, 4)
      light = 0.42 + slope * 2.1 - below * 0.45
      const line =
        height * (this.#scene.snowy ? 0.9 : 0.3) - below + noise.at(x * 13, y * 13) * 0.05
      white = ramp(0, 0.06, line) * (0.25 + 0.75 * ramp(0.22, 0.5, light)) * 0.8
    } else if (kind === "forest") {
      light = 0.24 + noise.sum(x * 22, y * 34, 3) * 0.42 - below * 0.9
    } else if (kind === "dune") {
      const ripple = noise.at(x * 5, y * 60 + noise.at(x * 3, y * 4) * 4) * 0.09 * near
      light = 0.66 - below * 1.9 + noise.sum(x * 2, y * 5, 3) * 0.5 + ripple
    } else {
      const tuft = noise.sum(x * 16, y * 46, 3) * (0.15 + 0.22 * near)
      light = 0.62 + tuft + noise.sum(x * 2.3, y * 4, 2) * 0.3 - below * (1.3 - 0.4 * distance)
    }
    const reach = Math.exp(-Math.abs(x - this.#scene.light.x) * 1.2)
    const rim = Math.exp(-below * 55) * 0.3 * this.#scene.light.strength * (0.35 + reach)
    if (kind === "headland") light = light * 0.7 - 0.12
    const share = clamp(light * (0.6 + 0.4 * reach) * (1 - this.#scene.darkness * 0.35) + rim)
    const { palette, snowy } = this.#scene
    if (snowy && kind !== "forest") white = Math.max(white, 0.72 * ramp(0.1, 0.45, light))
    if (snowy && kind === "forest") white = 0.55 * ramp(0.25, 0.5, light)
    for (let part = 0; part < 3; part++) {
      let value = this.#shade[part]! + (this.#lit[part]! - this.#shade[part]!) * share
      value += (palette.horizon[part]! - value) * rim * 0.6
      const snow = 0.45 * palette.sun[part]! + 0.55 * palette.lower[part]!
      out[part] = value + (snow * (0.5 + 0.5 * share) - value) * white
    }
  }

  #foliage(x: number, y: number, down: number, out: Pixel): void {
    const leaves = 0.5 + this.#noise.sum(x * 60, y * 60, 2)
    const light = clamp(0.15 + (1 - down) * 0.4 * leaves)
    for (let part = 0; part < 3; part++) {
      const value = this.#shade[part]! + (this.#lit[part]! * 0.62 - this.#shade[part]!) * light
      out[part]! += (value - out[part]!) * 0.85
    }
  }

  #facade(x: number, y: number, out: Pixel): void {
    const { height, seed, air: distance } = this.land
    const { palette, darkness } = this.#scene
    const cell = height * 0.2
    const index = Math.floor(x / cell)
    const tone = 0.12 + 0.3 * hashCell(index, 21, seed) * (1 - darkness * 0.6)
    for (let part = 0; part < 3; part++) {
      out[part] = this.#shade[part]! + (this.#lit[part]! - this.#shade[part]!) * tone
    }
    const pane = 0.0068 + height * 0.011
    const wx = x / (pane * 0.8)
    const wy = y / pane
    const fx = wx - Math.floor(wx)
    const fy = wy - Math.floor(wy)
    if (fx < 0.25 || fx > 0.78 || fy < 0.25 || fy > 0.72) return
    const lot = hashCell(Math.floor(wx), Math.floor(wy), seed)
    const floor = hashCell(Math.floor(wy), index, seed + 5)
    if (lot > 0.16 + 0.3 * darkness + 0.2 * floor * darkness) return
    const warm = hashCell(Math.floor(wx), Math.floor(wy), seed + 9)
    const lamp = warm < 0.7 ? [1, 0.82, 0.5] : warm < 0.85 ? palette.sun : palette.lower
    const shine = (0.25 + 0.75 * darkness) * (0.45 + 0.55 * warm) * (1 - distance * 0.4)
    for (let part = 0; part < 3; part++) out[part]! += (lamp[part]! - out[part]!) * shine
  }
}
