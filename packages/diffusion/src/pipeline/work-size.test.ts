import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { WorkGrid } from "./work-size.ts"
import { workSize } from "./work-size.ts"

const stableDiffusion: WorkGrid = { nativeSide: 512, downscale: 8 }
const small: WorkGrid = { nativeSide: 128, downscale: 8, latentMultiple: 4 }

describe("the size at which a model works", () => {
  test.each([
    [512, 512, 512, 512],
    [1024, 1024, 512, 512],
    [64, 64, 512, 512],
    [1024, 768, 576, 448],
    [768, 1024, 448, 576],
    [1920, 1080, 704, 384],
    [4000, 1000, 768, 384],
    [1, 4096, 384, 768],
  ])("of %i × %i is %i × %i, for one of 512 × 512", (width, height, ...expected) => {
    const size = workSize({ width, height }, stableDiffusion)
    expect([size.width, size.height]).toEqual(expected)
  })

  test.each([
    [512, 512, 128, 128],
    [1024, 768, 128, 96],
    [1280, 720, 160, 96],
  ])("of %i × %i is %i × %i, for one of 128 × 128", (width, height, ...expected) => {
    const size = workSize({ width, height }, small)
    expect([size.width, size.height]).toEqual(expected)
  })

  test("is a multiple, near the training's area, within 2:1, and turns with the wish", () => {
    const side = fc.integer({ min: 1, max: 8_192 })
    fc.assert(
      fc.property(side, side, fc.constantFrom(stableDiffusion, small), (width, height, grid) => {
        const size = workSize({ width, height }, grid)
        const step = grid.downscale * (grid.latentMultiple ?? 8)
        expect([size.width % step, size.height % step]).toEqual([0, 0])
        const area = (size.width * size.height) / grid.nativeSide ** 2
        expect(area).toBeGreaterThan(0.7)
        expect(area).toBeLessThan(1.35)
        expect(Math.abs(Math.log2(size.width / size.height))).toBeLessThanOrEqual(1)
        const turned = workSize({ width: height, height: width }, grid)
        expect(turned).toEqual({ width: size.height, height: size.width })
      }),
    )
  })

  test("of a model smaller than one step is that step", () => {
    expect(workSize({ width: 9, height: 9 }, { nativeSide: 16, downscale: 8 })).toEqual({
      width: 64,
      height: 64,
    })
  })
})
