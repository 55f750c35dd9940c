import type { Canvas } from "../canvas/canvas.ts"
import { clamp } from "../canvas/colour.ts"
import { Range } from "./land.ts"
import type { Scene } from "./scene.ts"
import { Sky } from "./sky.ts"
import { pasteSprite, type Stamp } from "./stamp.ts"
import { Water } from "./water.ts"

/** Lets go of the thread every so many rows, to report and to look for an abort. */
const rowsAtOnce = 16

/**
 * Paints sky and far land down to the shore, then what stands there, then water and near land, which may mirror
 * it. Yields the share that is done.
 */
export function* paintLandscape(scene: Scene, canvas: Canvas, stamps: Stamp[]): Generator<number> {
  const sky = new Sky(scene)
  const ranges = scene.lands.map((land) => new Range(scene, land, sky, canvas.width, canvas.height))
  const near = ranges.filter((range) => range.land.base > 0.95)
  const far = ranges.filter((range) => !near.includes(range))
  const shore = scene.water ? Math.floor(scene.horizon * canvas.height) : canvas.height
  for (let row = 0; row < shore; row++) {
    paintRow(canvas, row, sky, far)
    if (row % rowsAtOnce === 0) yield row / canvas.height
  }
  for (const stamp of stamps) if (stamp.sprite.mirrored) pasteSprite(canvas, scene, stamp, shore)
  const water = new Water(scene, canvas)
  const out = new Float64Array(3)
  for (let row = shore; row < canvas.height; row++) {
    const y = (row + 0.5) / canvas.height
    for (let column = 0; column < canvas.width; column++) {
      water.paint((column + 0.5 - canvas.width / 2) / canvas.height, y, out)
      put(canvas, row * canvas.width + column, out, 1)
    }
    if (row % rowsAtOnce === 0) yield row / canvas.height
  }
  for (const stamp of stamps) {
    if (stamp.sprite.mirrored && scene.water)
      pasteSprite(canvas, scene, stamp, canvas.height, shore)
  }
  for (const range of near) overlay(canvas, range)
  for (const stamp of stamps) if (!stamp.sprite.mirrored) pasteSprite(canvas, scene, stamp)
}

function paintRow(canvas: Canvas, row: number, sky: Sky, ranges: Range[]): void {
  const { width, height } = canvas
  const y = (row + 0.5) / height
  const out = new Float64Array(3)
  for (let column = 0; column < width; column++) {
    const x = (column + 0.5 - width / 2) / height
    const covers = (range: Range) => clamp((y - range.crest[column]!) * height + 0.5)
    let first = ranges.length - 1
    while (first >= 0 && covers(ranges[first]!) < 1) first--
    const pixel = row * width + column
    if (first >= 0) ranges[first]!.paint(x, y, column, out)
    else sky.paint(x, y, out)
    put(canvas, pixel, out, 1)
    for (let index = first + 1; index < ranges.length; index++) {
      const share = covers(ranges[index]!)
      if (share <= 0) continue
      ranges[index]!.paint(x, y, column, out)
      put(canvas, pixel, out, share)
    }
  }
}

function overlay(canvas: Canvas, range: Range): void {
  const { width, height } = canvas
  const out = new Float64Array(3)
  for (let column = 0; column < width; column++) {
    const x = (column + 0.5 - width / 2) / height
    const top = Math.max(0, Math.floor(range.crest[column]! * height))
    for (let row = top; row < height; row++) {
      const y = (row + 0.5) / height
      range.paint(x, y, column, out)
      put(canvas, row * width + column, out, clamp((y - range.crest[column]!) * height + 0.5))
    }
  }
}

export function put(canvas: Canvas, pixel: number, colour: Float64Array, share: number): void {
  const { rgb } = canvas
  for (let part = 0; part < 3; part++) {
    const at = pixel * 3 + part
    const value = colour[part]! * 255
    rgb[at] = share === 1 ? value : rgb[at]! + (value - rgb[at]!) * share
  }
}
