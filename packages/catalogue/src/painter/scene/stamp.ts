import type { Canvas } from "../canvas/canvas.ts"
import { clamp, mix } from "../canvas/colour.ts"
import type { Scene, Sprite } from "./scene.ts"

/** A sprite made into pixels: four bytes each, straight alpha. */
export interface Stamp {
  sprite: Sprite
  width: number
  height: number
  rgba: Uint8Array
  /** Its left upper pixel in the picture. */
  left: number
  top: number
}

/**
 * Lays a stamp on the picture between two rows, darkened as the scene's light asks, with a lit edge on the side
 * of the sun or moon.
 */
export function pasteSprite(
  canvas: Canvas,
  scene: Scene,
  stamp: Stamp,
  rowEnd = canvas.height,
  rowStart = 0,
): void {
  const { rgba, left, top, sprite } = stamp
  const shade = mix(scene.palette.shade, scene.palette.upper, 0.12)
  const toward = scene.light.x > sprite.x ? 1 : -1
  const edge = Math.max(1, Math.round(canvas.height / 420)) * toward
  const lastRow = Math.min(rowEnd, canvas.height, top + stamp.height)
  for (let row = Math.max(rowStart, top, 0); row < lastRow; row++) {
    for (
      let column = Math.max(0, left);
      column < Math.min(canvas.width, left + stamp.width);
      column++
    ) {
      const from = ((row - top) * stamp.width + column - left) * 4
      const alpha = rgba[from + 3]! / 255
      if (alpha === 0) continue
      const beside = column - left + edge
      const covered = beside >= 0 && beside < stamp.width ? rgba[from + edge * 4 + 3]! / 255 : 0
      const rim = clamp(alpha - covered) * 0.75 * scene.light.strength * sprite.dark
      const at = (row * canvas.width + column) * 3
      // What shines by itself (a lit window, a lamp) keeps its light in the dark.
      const shining = rgba[from]! > 240 && rgba[from + 1]! > 195 && rgba[from + 2]! > 100
      const dark = shining ? 0 : sprite.dark
      for (let part = 0; part < 3; part++) {
        const own = rgba[from + part]! / 255
        let value = own + (shade[part]! - own) * dark
        value += (scene.palette.sun[part]! - value) * rim
        canvas.rgb[at + part]! += (value * 255 - canvas.rgb[at + part]!) * alpha
      }
    }
  }
}
