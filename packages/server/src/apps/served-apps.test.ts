import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { builtinApps } from "@tintype/catalogue"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { AppRow } from "../store.ts"
import { appModules, appVariables, moduleUrl, readAppRows } from "./served-apps.ts"

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-apps-test-"))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

async function module(name: string, source: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, source)
  return path
}

const appSource = (id: string) =>
  `export default { id: ${JSON.stringify(id)}, endpoints: new Map() }`

test("the built-in apps have a document and a category for each of their endpoints", async () => {
  const rows = await readAppRows(appModules([]))
  expect(rows.map(({ id }) => id)).toEqual(builtinApps.map(({ id }) => id))
  expect(new Set(rows.map(({ auth }) => auth))).toEqual(new Set(["shared"]))
  for (const [at, row] of rows.entries()) {
    expect(row.endpoints).toHaveLength(builtinApps[at]!.endpoints.size)
    expect(Object.keys(row.openapi)).toEqual(row.endpoints)
    for (const id of row.endpoints) {
      expect(id === row.id || id.startsWith(`${row.id}/`)).toBe(true)
      expect(row.openapi[id]).toMatchObject({ paths: expect.anything() })
      expect(row.metadata[id]).toMatchObject({ status: "active", category: expect.any(String) })
    }
  }
})

test("the setting's modules are read too, whatever they print", async () => {
  const source = `console.log("hello"); process.stdout.write("more"); ${appSource("me/mine")}`
  const url = moduleUrl(await module("my app.mjs", source))
  expect((await readAppRows([url])).map(({ id }) => id)).toEqual(["me/mine"])
})

test("an app's own times are in its row, in milliseconds", async () => {
  const source = `export default { id: "me/slow", requestTimeoutSeconds: 1.5, endpoints: new Map() }`
  const [row] = await readAppRows([moduleUrl(await module("slow.mjs", source))])
  expect(row?.timeouts).toEqual({ requestMs: 1_500 })
})

test("a module that is missing, throws, ends the process or has no app is refused", async () => {
  const sources = ["", "export default {}", "throw new Error('a bug')", "process.exit(0)"]
  const paths = await Promise.all(sources.map((source, at) => module(`${at}.mjs`, source)))
  for (const path of [...paths, join(folder, "missing.mjs")]) {
    await expect(readAppRows([moduleUrl(path)])).rejects.toMatchObject({ code: "settings" })
  }
})

test("the documents say which engine makes the pictures", async () => {
  const engine = { engine: "diffusion", model: "acme/sdxl" }
  const config = { engines: { "fal-ai/fast-sdxl": engine }, pace: 1 }
  const rows = await readAppRows(appModules([]), appVariables(config))
  const told = Object.assign({}, ...rows.map(({ metadata }) => metadata)) as AppRow["metadata"]
  const description = expect.stringMatching(/^Diffused .* acme\/sdxl/) as string
  expect(told["fal-ai/fast-sdxl/inpainting"]).toMatchObject({ description })
  expect(told["fal-ai/flux/dev"]).toMatchObject({ description: expect.stringMatching("Painted") })
})

test("engines that cannot be kept are refused in one line that is about them alone", async () => {
  const config = { engines: { "fal-ai/fast-sdx": { engine: "painter" } }, pace: 1 }
  await expect(readAppRows(appModules([]), appVariables(config))).rejects.toMatchObject({
    code: "settings",
    message: expect.stringMatching(/^engines: fal-ai\/fast-sdx is no picture endpoint .*$/),
  })
})

test("two apps with one id are refused", async () => {
  const urls = [await module("a.mjs", appSource("me/a")), await module("b.mjs", appSource("me/a"))]
  await expect(readAppRows(urls.map(moduleUrl))).rejects.toMatchObject({
    code: "settings",
    message: expect.stringContaining("me/a"),
  })
})

test("a path becomes a URL, a package's name stays", () => {
  expect(moduleUrl("/a b/c#d.ts")).toBe(pathToFileURL("/a b/c#d.ts").href)
  expect(moduleUrl("@acme/apps")).toBe("@acme/apps")
})
