import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { makeRandomModel } from "../../packages/catalogue/src/random-model.suite.ts"
import {
  makeDataFolder,
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"

const root = resolve(import.meta.dirname, "../..")

/** The built packages and what they depend on, in a folder of its own, as npm leaves it when an optional dependency fails. */
async function copyWithout(missing: RegExp): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-installed-"))
  for (const name of await readdir(join(root, "packages"))) {
    for (const part of ["package.json", "dist", "bin"]) {
      const target = join(folder, "packages", name, part)
      await mkdir(dirname(target), { recursive: true })
      await cp(join(root, "packages", name, part), target, { recursive: true }).catch(
        (error: NodeJS.ErrnoException) => {
          if (error.code !== "ENOENT") throw error
        },
      )
    }
  }
  const modules = join(folder, "node_modules")
  await mkdir(join(modules, "@tintype"), { recursive: true })
  for (const name of await readdir(join(root, "node_modules"))) {
    if (name.startsWith(".") || name === "@tintype" || missing.test(name)) continue
    await symlink(join(root, "node_modules", name), join(modules, name))
  }
  for (const name of await readdir(join(root, "node_modules/@tintype"))) {
    await symlink(join(folder, "packages", name), join(modules, "@tintype", name))
  }
  return folder
}

let folder: string
let model: string
let server: ServerProcess

beforeAll(async () => {
  folder = await copyWithout(/^onnxruntime/)
  model = await makeRandomModel()
  const data = await makeDataFolder()
  const engines = { "tintype/miniature": { engine: "diffusion", model } }
  const bin = join(folder, "packages/cli/bin/tintype.js")
  server = await startServerProcess({ data, bin, config: { engines } })
  await untilReady(server.url)
}, 60_000)

afterAll(async () => {
  await server.kill("SIGTERM")
  await removeDataFolder(server.data)
  for (const made of [folder, model]) await rm(made, { recursive: true, force: true })
})

async function run(endpoint: string) {
  const answer = await fetch(`${server.url}/run/${endpoint}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "a red circle", image_size: "square" }),
  })
  return { status: answer.status, body: await answer.text() }
}

it("without ONNX Runtime the endpoint says what is missing, and everything else works", async () => {
  const refused = await run("tintype/miniature")
  expect(refused.status).toBe(500)
  expect(JSON.parse(refused.body)).toMatchObject({
    detail: [
      {
        type: "internal_server_error",
        msg: "This endpoint needs onnxruntime-node, which is not installed where its runner is.",
      },
    ],
  })
  expect(await readFile(join(server.data, "runner.log"), "utf8")).toMatch(
    /tintype\/miniature: .*npm install onnxruntime-node/,
  )
  expect((await run("fal-ai/flux/schnell")).status).toBe(200)
})
