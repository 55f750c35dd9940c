import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { checkEngines, chooseEngines, readEngines } from "./engine-choice.ts"
import { fastSdxl, flux, miniature } from "./index.ts"

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-model-"))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

function read(settings: unknown, cwd = tmpdir()) {
  return readEngines(JSON.stringify(settings), cwd)
}

describe("Which engine an endpoint has", () => {
  test("the painter has the big names and diffusion the miniature, where nothing is said", () => {
    for (const nothing of [undefined, "", "{}"]) {
      const engineOf = chooseEngines(readEngines(nothing, tmpdir()))
      expect(engineOf("fal-ai/flux/dev").name).toBe("painter")
      expect(engineOf("fal-ai/lcm-sd15-i2i").name).toBe("painter")
      expect(engineOf("tintype/miniature").name).toBe("diffusion")
      expect(engineOf("tintype/miniature/inpainting").name).toBe("diffusion")
    }
  })

  test("an app's setting is that of its endpoints; an endpoint's own goes before", () => {
    const engineOf = chooseEngines(
      read({
        "fal-ai/fast-sdxl": { engine: "diffusion", model: "acme/sdxl@v1.0" },
        "fal-ai/fast-sdxl/inpainting": { engine: "painter" },
        "fal-ai/flux/dev": { engine: "diffusion", model: "acme/other", scheduler: "lcm" },
        "tintype/miniature": { engine: "painter" },
      }),
    )
    expect(engineOf("fal-ai/fast-sdxl").description).toContain("acme/sdxl@v1.0")
    expect(engineOf("fal-ai/fast-sdxl/image-to-image").name).toBe("diffusion")
    expect(engineOf("fal-ai/fast-sdxl/inpainting").name).toBe("painter")
    expect(engineOf("fal-ai/flux/dev").name).toBe("diffusion")
    expect(engineOf("fal-ai/flux/dev/image-to-image").name).toBe("painter")
    expect(engineOf("tintype/miniature").name).toBe("painter")
  })

  test("a folder is seen from the working folder, and the documents name no path", () => {
    const model = `./${basename(folder)}`
    const settings = read({ "fal-ai/flux": { engine: "diffusion", model } })
    expect(settings).toMatchObject({ "fal-ai/flux": { model: folder } })
    const { description } = chooseEngines(settings)("fal-ai/flux/dev")
    expect(description).toContain(basename(folder))
    expect(description).not.toContain(tmpdir())
  })
})

describe("A setting that cannot be kept is one clear line", () => {
  const id = "fal-ai/fast-sdxl"

  test.each([
    ["[]", "engines: must be an object, by the ids of endpoints; it is []"],
    ["{", "engines: must be an object"],
    [{ [id]: "diffusion" }, `engines: ${id}: Invalid input: expected object`],
    [{ [id]: { engine: "gan" } }, `engines: ${id}: engine: must be painter or diffusion`],
    [{ [id]: {} }, `engines: ${id}: engine: must be painter or diffusion`],
    [{ [id]: { engine: "diffusion" } }, `engines: ${id}: model: Invalid input: expected string`],
    [
      { [id]: { engine: "painter", model: "acme/sdxl" } },
      `engines: ${id}: Unrecognized key: "model"`,
    ],
    [
      { [id]: { engine: "diffusion", model: "acme/sdxl", scheduler: "heun" } },
      `engines: ${id}: scheduler: Invalid option: expected one of "ddim"`,
    ],
    [
      { [id]: { engine: "diffusion", model: "sdxl" } },
      `engines: ${id}: model: must be a folder (./folder, /folder) or a hub id`,
    ],
    [
      { [id]: { engine: "diffusion", model: "./no/such" } },
      `engines: ${id}: model: there is no folder ${join(tmpdir(), "no/such")}`,
    ],
    [{ [id]: { engine: "diffusion", model: import.meta.filename } }, "there is no folder"],
  ])("%j", (settings, message) => {
    const text = typeof settings === "string" ? settings : JSON.stringify(settings)
    const refused = () => readEngines(text, tmpdir())
    expect(refused).toThrow(TypeError)
    expect(refused).toThrow(message)
    expect(refused).not.toThrow("\n")
  })

  test.each(["fal-ai/fast-sdx", "fal-ai/fast-sdxl/upscale", "tintype/echo", "constructor"])(
    "an id that is no picture endpoint [%s]",
    (strange) => {
      const settings = read({ [strange]: { engine: "painter" } })
      expect(() => checkEngines(settings, [miniature, flux, fastSdxl])).toThrow(
        `engines: ${strange} is no picture endpoint of the built-in apps: tintype/miniature, fal-ai/flux`,
      )
    },
  )

  test("the ids of apps and of their endpoints are known", () => {
    const ids = ["fal-ai/flux", "fal-ai/flux/dev/image-to-image", "fal-ai/fast-sdxl/inpainting"]
    const settings = read(Object.fromEntries(ids.map((known) => [known, { engine: "painter" }])))
    expect(() => checkEngines(settings, [flux, fastSdxl])).not.toThrow()
  })
})
