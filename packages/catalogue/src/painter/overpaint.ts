import type { Canvas } from "./canvas/canvas.ts"
import { type Colour, mix } from "./canvas/colour.ts"
import type { Box } from "./mask-box.ts"
import { within } from "./paint.ts"
import type { Scene } from "./scene/scene.ts"
import { paintStrokes } from "./canvas/strokes.ts"

/** The given picture in the prompt's colours and brush, with the prompt's own picture shining through. */
export function* overpaint(
  scene: Scene,
  canvas: Canvas,
  painted: Canvas,
  strength: number,
): Generator<number> {
  const original = canvas.rgb.slice()
  grade(scene, canvas, 0.2 + 0.55 * strength)
  const through = 0.45 * strength * strength
  for (let at = 0; at < canvas.rgb.length; at++) {
    canvas.rgb[at]! += (painted.rgb[at]! - canvas.rgb[at]!) * through
  }
  yield 0.2
  yield* within(paintStrokes(canvas, scene.seed, 0.7 + 0.9 * strength), 0.2, 0.95)
  const share = 0.08 + 0.92 * strength
  for (let at = 0; at < canvas.rgb.length; at++) {
    canvas.rgb[at] = original[at]! + (canvas.rgb[at]! - original[at]!) * share
  }
  yield 1
}

/** Draws the picture's lights and shadows towards the palette's. */
function grade(scene: Scene, canvas: Canvas, share: number): void {
  const { palette } = scene
  const tones: Colour[] = [
    palette.shade,
    palette.zenith,
    palette.upper,
    palette.lower,
    palette.horizon,
    palette.sun,
  ]
  tones.sort((a, b) => a[0] + a[1] * 2 + a[2] * 0.5 - (b[0] + b[1] * 2 + b[2] * 0.5))
  const table = Array.from({ length: 256 }, (_, light) => {
    const place = (light / 255) * (tones.length - 1)
    const index = Math.min(tones.length - 2, Math.floor(place))
    return mix(tones[index]!, tones[index + 1]!, place - index)
  })
  const { rgb } = canvas
  for (let at = 0; at < rgb.length; at += 3) {
    const light = rgb[at]! * 0.3 + rgb[at + 1]! * 0.59 + rgb[at + 2]! * 0.11
    const tone = table[Math.round(light)]!
    for (let part = 0; part < 3; part++) {
      const wanted = tone[part]! * 150 + light * 0.41
      rgb[at + part]! += (wanted - rgb[at + part]!) * share
    }
  }
}

export function fillMask(
  canvas: Canvas,
  painted: Canvas,
  mask: Uint8Array,
  box: Box,
  strength: number,
): void {
  const share = (0.25 + 0.75 * strength) / 255
  for (let row = 0; row < box.height; row++) {
    for (let column = 0; column < box.width; column++) {
      const to = (row + box.top) * canvas.width + column + box.left
      const open = mask[to]! * share
      if (open === 0) continue
      const from = (row * box.width + column) * 3
      for (let part = 0; part < 3; part++) {
        const at = to * 3 + part
        canvas.rgb[at]! += (painted.rgb[from + part]! - canvas.rgb[at]!) * open
      }
    }
  }
}

/** A subject without a place of its own gets the colours of what lies around it. */
export function surround(scene: Scene, canvas: Canvas, box: Box): Scene {
  if (scene.mode !== "studio") return scene
  const { palette } = scene
  const [high, middle, low] = [0.1, 0.5, 0.9].map((share) => meanAround(canvas, box, share))
  const zenith = mix(palette.zenith, high!, 0.85)
  const upper = mix(palette.upper, mix(high!, middle!, 0.5), 0.85)
  const lower = mix(palette.lower, low!, 0.85)
  const horizon = mix(palette.horizon, middle!, 0.6)
  return { ...scene, palette: { ...palette, zenith, upper, lower, horizon } }
}

/** The mean colour of one row of the box. */
function meanAround(canvas: Canvas, box: Box, share: number): Colour {
  const row = box.top + Math.floor((box.height - 1) * share)
  const sum = [0, 0, 0]
  for (let column = box.left; column < box.left + box.width; column++) {
    const at = (row * canvas.width + column) * 3
    for (let part = 0; part < 3; part++) sum[part]! += canvas.rgb[at + part]!
  }
  const all = box.width * 255
  return [sum[0]! / all, sum[1]! / all, sum[2]! / all]
}
