import type { Canvas } from "./canvas.ts"
import { clamp, ramp } from "./colour.ts"
import { hashCell, Noise } from "./noise.ts"
import type { Scene } from "../scene/scene.ts"

/** Light and weather that lie over everything: a lamp's beams and glow, rain, snow. */
export function* paintWeather(scene: Scene, canvas: Canvas): Generator<number> {
  if (scene.lamp === null && scene.rain === 0 && scene.snowfall === 0) return
  const noise = new Noise(scene.seed ^ 0xfee1)
  const { width, height, rgb } = canvas
  for (let row = 0; row < height; row++) {
    const y = (row + 0.5) / height
    for (let column = 0; column < width; column++) {
      const x = (column + 0.5 - width / 2) / height
      const shine = beams(scene, x, y, noise)
      const drops = scene.rain > 0 ? rain(scene, x, y) : 0
      const flakes = scene.snowfall > 0 ? flakesAt(scene, x, y) : 0
      if (shine + drops + flakes < 0.004) continue
      const at = (row * width + column) * 3
      rgb[at]! += (255 - rgb[at]!) * clamp(shine + drops * 0.9 + flakes)
      rgb[at + 1]! += (238 - rgb[at + 1]!) * clamp(shine * 0.95 + drops * 0.95 + flakes)
      rgb[at + 2]! += (205 - rgb[at + 2]!) * clamp(shine * 0.75 + drops + flakes)
    }
    if (row % 24 === 0) yield row / height
  }
}

function beams(scene: Scene, x: number, y: number, noise: Noise): number {
  if (scene.lamp === null) return 0
  const dx = x - scene.lamp.x
  const dy = y - scene.lamp.y
  const far = Math.hypot(dx, dy)
  const lamp = far < 0.5 ? Math.exp(-far * 42) * 0.95 + Math.exp(-far * 11) * 0.3 : 0
  const tilt = dy + dx * 0.1 * Math.sign(scene.light.x || 1)
  const off = tilt / (Math.abs(dx) * 0.085 + 0.006)
  const beam = Math.abs(off) < 2.4 ? Math.exp(-off * off - Math.abs(dx) * 1.5) * 0.62 : 0
  const dust = beam > 0.004 ? 0.75 + 0.25 * noise.sum(x * 4, y * 9, 2) : 0
  return (lamp + dust * beam * ramp(0.005, 0.03, Math.abs(dx))) * (0.35 + 0.65 * scene.darkness)
}

function rain(scene: Scene, x: number, y: number): number {
  let shine = 0
  for (let layer = 0; layer < 2; layer++) {
    const wide = 0.007 + layer * 0.006
    const u = (x + y * 0.16) / wide
    const column = Math.floor(u)
    const v = y / (0.11 + layer * 0.06) + hashCell(column, layer, scene.seed) * 9
    if (hashCell(column, Math.floor(v), scene.seed + layer) > 0.4 * scene.rain) continue
    const across = Math.abs(u - column - 0.5) * 2
    const fall = v - Math.floor(v)
    shine += (1 - ramp(0.06, 0.3, across)) * ramp(0, 0.5, fall) * (1 - ramp(0.5, 0.56, fall)) * 0.2
  }
  return shine
}

function flakesAt(scene: Scene, x: number, y: number): number {
  let shine = 0
  for (let layer = 0; layer < 3; layer++) {
    const cell = 0.022 + layer * 0.03
    const [cx, cy] = [Math.floor(x / cell), Math.floor(y / cell)]
    if (hashCell(cx, cy, scene.seed + layer) > 0.42) continue
    const px = (cx + 0.25 + 0.5 * hashCell(cx, cy, scene.seed + 11)) * cell
    const py = (cy + 0.25 + 0.5 * hashCell(cx, cy, scene.seed + 13)) * cell
    const reach = cell * (0.07 + 0.09 * hashCell(cx, cy, scene.seed + 17))
    shine += Math.exp(-((x - px) ** 2 + (y - py) ** 2) / reach ** 2) * (0.85 - layer * 0.15)
  }
  return shine
}

/** The last hand: contrast, colour, a darker border, the grain of a canvas. `roughness` is what few steps leave. */
export function* finishPicture(scene: Scene, canvas: Canvas, roughness: number): Generator<number> {
  const { width, height, rgb } = canvas
  const { contrast, saturation } = scene.finish
  for (let row = 0; row < height; row++) {
    const dy = (row + 0.5) / height - 0.5
    for (let column = 0; column < width; column++) {
      const dx = (column + 0.5) / width - 0.5
      const border = 1 - 0.5 * (dx * dx + dy * dy) ** 1.15 * 1.6
      const grain = (hashCell(column, row, scene.seed) - 0.5) * (5 + roughness * 90)
      const at = (row * width + column) * 3
      const [red, green, blue] = [rgb[at]!, rgb[at + 1]!, rgb[at + 2]!]
      const light = red * 0.3 + green * 0.59 + blue * 0.11
      rgb[at] = tone(light + (red - light) * saturation, contrast) * border + grain
      rgb[at + 1] = tone(light + (green - light) * saturation, contrast) * border + grain
      rgb[at + 2] = tone(light + (blue - light) * saturation, contrast) * border + grain
    }
    if (row % 32 === 0) yield row / height
  }
}

function tone(value: number, contrast: number): number {
  return (value - 118) * contrast + 118
}
