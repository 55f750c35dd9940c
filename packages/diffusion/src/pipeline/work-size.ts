import assert from "node:assert/strict"
import type { ModelFacts } from "../model.ts"

export interface Size {
  width: number
  height: number
}

/** What of a model decides at which size it works. */
export type WorkGrid = Pick<ModelFacts, "nativeSide" | "downscale" | "latentMultiple">

const latentMultipleByDefault = 8

/** Longer pictures than this show their subject twice: no model saw such in training. */
const aspectMax = 2

/**
 * The size at which a model makes a picture that is wanted at another size: its area near that of the training, its sides in
 * whole multiples, its aspect as near to the wished one as that allows and never beyond 2:1. What comes out is brought to the
 * wished size afterwards: enlarged, and cut where the aspects differ.
 *
 * `workSize({ width: 1920, height: 1080 }, { nativeSide: 512, downscale: 8 })` is 704 × 384.
 */
export function workSize(wished: Size, grid: WorkGrid): Size {
  const step = grid.downscale * (grid.latentMultiple ?? latentMultipleByDefault)
  assert(step >= 1 && grid.nativeSide >= 1, "a model has a native size")
  const aspect = Math.min(Math.max(wished.width / wished.height, 1 / aspectMax), aspectMax)
  const sideMax = Math.max(Math.floor((grid.nativeSide * aspectMax) / step), 1)
  let best: Size = { width: step, height: step }
  let leastOff = Infinity
  for (let columns = 1; columns <= sideMax; columns++) {
    for (let rows = 1; rows <= sideMax; rows++) {
      if (columns > rows * aspectMax || rows > columns * aspectMax) continue
      const size = { width: columns * step, height: rows * step }
      const off = offBy(size, aspect, grid.nativeSide)
      if (off >= leastOff) continue
      leastOff = off
      best = size
    }
  }
  return best
}

/** A wrong aspect cuts the picture, a wrong area only blurs it: the first weighs twice. */
function offBy({ width, height }: Size, aspect: number, nativeSide: number): number {
  const ofAspect = Math.abs(Math.log(width / height / aspect))
  const ofArea = Math.abs(Math.log((width * height) / nativeSide ** 2))
  return 2 * ofAspect + ofArea
}
