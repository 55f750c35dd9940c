import { expect, test } from "vitest"
import { nearest } from "./nearest.ts"

const ids = ["fal-ai/flux/dev", "fal-ai/flux/schnell", "fal-ai/fast-sdxl"]

test("a misspelt word finds what was meant [swap, omission, other case]", () => {
  expect(nearest("fal-ai/flux/dve", ids)).toBe("fal-ai/flux/dev")
  expect(nearest("fal-ai/flx/schnel", ids)).toBe("fal-ai/flux/schnell")
  expect(nearest("FAL-AI/Fast-SDXL", ids)).toBe("fal-ai/fast-sdxl")
})

test("a word that is like none of them finds nothing", () => {
  expect(nearest("stable-video", ids)).toBeNull()
  expect(nearest("x", ids)).toBeNull()
  expect(nearest("anything", [])).toBeNull()
})

test("of several the closest wins, and the first of equals", () => {
  expect(nearest("prot", ["port", "host"])).toBe("port")
  expect(nearest("cat", ["bat", "hat"])).toBe("bat")
})
