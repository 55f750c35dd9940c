import type { Canvas } from "./canvas.ts"
import { clamp, type Colour, ramp } from "./colour.ts"
import { Dice, hashCell, Noise } from "./noise.ts"
import type { Scene } from "../scene/scene.ts"
import { put } from "../scene/landscape.ts"

const rowsAtOnce = 16

/** Paints what has no horizon: folded colour, deep space, or the soft backdrop of a portrait. */
export function* paintField(scene: Scene, canvas: Canvas): Generator<number> {
  const painters = { abstract: paintFolds, space: paintSpace, studio: paintBackdrop }
  const paint = painters[scene.mode === "landscape" ? "abstract" : scene.mode](scene)
  const out = new Float64Array(3)
  for (let row = 0; row < canvas.height; row++) {
    const y = (row + 0.5) / canvas.height
    for (let column = 0; column < canvas.width; column++) {
      paint((column + 0.5 - canvas.width / 2) / canvas.height, y, out)
      put(canvas, row * canvas.width + column, out, 1)
    }
    if (row % rowsAtOnce === 0) yield row / canvas.height
  }
}

type Paint = (x: number, y: number, out: Float64Array) => void

function along(colours: readonly Colour[], at: number, out: Float64Array): void {
  const place = clamp(at, 0, 0.9999) * (colours.length - 1)
  const index = Math.floor(place)
  const share = ramp(0, 1, place - index)
  const [from, to] = [colours[index]!, colours[index + 1]!]
  for (let part = 0; part < 3; part++) out[part] = from[part]! + (to[part]! - from[part]!) * share
}

function paintFolds(scene: Scene): Paint {
  const noise = new Noise(scene.seed)
  const { palette } = scene
  const colours = [
    palette.shade,
    palette.zenith,
    palette.upper,
    palette.lower,
    palette.horizon,
    palette.sun,
  ]
  const zoom = 1.3 + (scene.seed % 7) * 0.12
  return (x, y, out) => {
    const ax = noise.sum(x * zoom, y * zoom, 3)
    const ay = noise.sum(x * zoom + 5.2, y * zoom + 1.3, 3)
    const bx = noise.sum(x * zoom + ax * 2.4 + 1.7, y * zoom + ay * 2.4 + 9.2, 3)
    const fold = noise.sum(x * zoom + bx * 1.9, y * zoom + ay * 1.6 - bx, 3)
    along(colours, 0.46 + fold * 0.75 + bx * 0.3, out)
    const vein = Math.exp(-((Math.abs(fold - 0.05) * 13) ** 2))
    const shine = vein * 0.5 + clamp(ax * bx) * 0.6
    for (let part = 0; part < 3; part++)
      out[part]! += (palette.sun[part]! - out[part]!) * shine * 0.5
  }
}

function paintSpace(scene: Scene): Paint {
  const noise = new Noise(scene.seed)
  const dice = new Dice(scene.seed ^ 0x9a)
  const { palette, light, aspect } = scene
  const planet = {
    x: -Math.sign(light.x) * aspect * 0.2,
    y: dice.between(0.5, 0.62),
    radius: dice.between(0.17, 0.24),
  }
  const colours = [
    [0.01, 0.01, 0.03],
    palette.zenith,
    palette.upper,
    palette.lower,
    palette.horizon,
  ] as Colour[]
  return (x, y, out) => {
    const wx = noise.sum(x * 1.4, y * 1.4, 3)
    const cloud = noise.sum(x * 1.7 + wx * 1.5, y * 1.7 - wx, 5)
    const band = Math.exp(-((x * 0.45 + (y - 0.5) * 1.2) ** 2) * 7)
    along(colours, band * 0.62 + cloud * 0.8 + 0.12, out)
    const glow = Math.exp(-Math.hypot(x - light.x, y - light.y) * 7) * 0.8
    for (let part = 0; part < 3; part++) out[part]! += (palette.sun[part]! - out[part]!) * glow
    addStars(x, y, scene.seed, out)
    paintPlanet(x, y, planet, scene, noise, out)
  }
}

function addStars(x: number, y: number, seed: number, out: Float64Array): void {
  const cell = 0.011
  const [cx, cy] = [Math.floor(x / cell), Math.floor(y / cell)]
  if (hashCell(cx, cy, seed) > 0.2) return
  const px = (cx + 0.2 + 0.6 * hashCell(cx, cy, seed + 1)) * cell
  const py = (cy + 0.2 + 0.6 * hashCell(cx, cy, seed + 2)) * cell
  const bright = hashCell(cx, cy, seed + 3) ** 4
  const reach = 0.0008 + bright * 0.0022
  const shine = Math.exp(-((x - px) ** 2 + (y - py) ** 2) / reach ** 2) * (0.4 + bright)
  for (let part = 0; part < 3; part++) out[part]! += shine
}

function paintPlanet(
  x: number,
  y: number,
  planet: { x: number; y: number; radius: number },
  scene: Scene,
  noise: Noise,
  out: Float64Array,
): void {
  const dx = (x - planet.x) / planet.radius
  const dy = (y - planet.y) / planet.radius
  const far = Math.hypot(dx, dy)
  const halo = Math.exp(-Math.abs(far - 1) * 14) * 0.45
  const { palette, light } = scene
  const [lx, ly] = [light.x - planet.x, light.y - planet.y]
  const reach = Math.hypot(lx, ly, 0.35)
  if (far < 1) {
    const dz = Math.sqrt(1 - far * far)
    const lit = clamp((dx * lx + dy * ly + dz * 0.35) / reach + 0.06)
    const bands = noise.sum(dx * 0.8 + dz, dy * 4.5 + noise.at(dx * 2, dy * 3) * 0.5, 4)
    const edge = clamp((1 - far) * 60)
    for (let part = 0; part < 3; part++) {
      const own =
        palette.lower[part]! + (palette.horizon[part]! - palette.lower[part]!) * (0.5 + bands)
      out[part]! += (own * (0.04 + lit * 1.05) - out[part]!) * edge
    }
  }
  const facing = clamp((dx * lx + dy * ly) / (reach * Math.max(far, 0.1)) + 0.25)
  for (let part = 0; part < 3; part++) out[part]! += palette.horizon[part]! * halo * facing
}

function paintBackdrop(scene: Scene): Paint {
  const noise = new Noise(scene.seed)
  const dice = new Dice(scene.seed ^ 0xb0)
  const { palette, light, aspect } = scene
  const lamps = Array.from({ length: 26 }, () => ({
    x: dice.between(-0.6, 0.6) * aspect,
    y: dice.between(0, 0.85),
    radius: dice.between(0.015, 0.075),
    strength: dice.between(0.08, 0.36),
  }))
  return (x, y, out) => {
    const drift = noise.sum(x * 1.6, y * 1.6, 3)
    along(
      [palette.zenith, palette.upper, palette.lower, palette.zenith],
      0.15 + y * 0.62 + drift * 0.28,
      out,
    )
    const glow = Math.exp(-Math.hypot(x - light.x * 0.6, y - 0.36) * 3.4) * 0.75
    for (let part = 0; part < 3; part++) out[part]! += (palette.horizon[part]! - out[part]!) * glow
    for (const lamp of lamps) {
      const far = Math.hypot(x - lamp.x, y - lamp.y)
      if (far > lamp.radius * 1.1) continue
      const shine =
        (1 - ramp(lamp.radius * 0.88, lamp.radius, far)) *
        lamp.strength *
        (0.7 + 0.3 * (far / lamp.radius))
      for (let part = 0; part < 3; part++) out[part]! += (palette.sun[part]! - out[part]!) * shine
    }
  }
}
