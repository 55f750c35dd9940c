import { describe, expect, test } from "vitest"
import { latentToRgbOf, previewLatents } from "./latent-preview.ts"

const ofTwoChannels = {
  weights: [
    [1, 0],
    [0, 1],
    [-1, 0.5],
  ],
  bias: [0, 0.5, 0],
}

describe("a preview", () => {
  test("has red, green and blue of each latent, row by row, clamped", () => {
    const latents = Float32Array.of(-1, 0, 1, 5, 0, 0.5, -9, 0)
    expect([...previewLatents(latents, ofTwoChannels)]).toEqual([
      ...[0, 191, 255],
      ...[128, 255, 159],
      ...[255, 0, 0],
      ...[255, 191, 0],
    ])
  })

  test("is by the model's own factors where it has them", () => {
    const facts = { latentToRgb: ofTwoChannels, latentChannels: 2, vae: { scale: 1, shift: 0 } }
    expect(latentToRgbOf(facts)).toBe(ofTwoChannels)
  })

  test("is by Stable Diffusion's where the latents are its, and there is none otherwise", () => {
    const latentToRgb = latentToRgbOf({ latentChannels: 4, vae: { scale: 0.18215, shift: 0 } })
    expect(latentToRgb?.weights.map((row) => row.length)).toEqual([4, 4, 4])
    expect(latentToRgbOf({ latentChannels: 4, vae: { scale: 0.13025, shift: 0 } })).toBeNull()
    expect(latentToRgbOf({ latentChannels: 16, vae: { scale: 0.18215, shift: 0 } })).toBeNull()
  })
})
