import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { Hub, isHubId } from "./hub.ts"
import { isNeeded } from "./listing.ts"
import { openStandInHub, type StandInHub, type StandInModel } from "./stand-in-hub.suite.ts"

const weights = Buffer.alloc(300_000, "weights of the denoiser, ")
const files = {
  "model_index.json": "{}",
  "scheduler/scheduler_config.json": '{"_class_name": "DDIMScheduler"}',
  "unet/model.onnx": "a graph",
  "unet/model.onnx_data": weights,
  "unet/diffusion_pytorch_model.safetensors": "not these",
  "README.md": "nor this",
}
const needed = [
  "model_index.json",
  "scheduler/scheduler_config.json",
  "unet/model.onnx",
  "unet/model.onnx_data",
]
const id = "owner/name"

const closing: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Scene {
  standIn: StandInHub
  cacheFolder: string
  hub: Hub
}

async function open(model: Partial<StandInModel> = {}, token?: string): Promise<Scene> {
  const cacheFolder = await mkdtemp(join(tmpdir(), "hub-"))
  closing.push(() => rm(cacheFolder, { recursive: true }))
  const standIn = await openStandInHub({ id, revision: "main", files, largeFrom: 1_000, ...model })
  closing.push(() => standIn.close())
  const address = { url: standIn.url, ...(token === undefined ? {} : { token }) }
  return { standIn, cacheFolder, hub: new Hub({ ...address, cacheFolder }) }
}

function follower(signal = new AbortController().signal) {
  const lines: string[] = []
  return { signal, lines, log: (message: string) => void lines.push(message) }
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted()
}

test("A model is fetched once: the files of its networks, then nothing any more, also offline", async () => {
  const { hub, standIn, cacheFolder } = await open()
  const watching = follower()
  const folder = await hub.fetch(id, watching)
  expect(folder).toBe(join(cacheFolder, "owner--name@main"))
  expect(await filesIn(folder)).toEqual([...needed, "tintype-hub.json"].toSorted())
  expect(await readFile(join(folder, "unet/model.onnx_data"))).toEqual(weights)
  // How far it is, is said every two seconds, which a busy machine may take.
  expect(watching.lines.filter((line) => !line.includes("%"))).toEqual([
    `fetching owner/name from ${standIn.url}: 4 files, 301 kB`,
    "fetched model_index.json, 1 kB",
    "fetched scheduler/scheduler_config.json, 1 kB",
    "fetched unet/model.onnx, 1 kB",
    "fetched unet/model.onnx_data, 300 kB",
  ])
  await standIn.close()
  const address = { url: standIn.url, cacheFolder }
  expect(await new Hub(address).fetch(id, follower())).toBe(folder)
})

test("A branch, a tag or a commit is fetched for itself", async () => {
  const { hub, standIn, cacheFolder } = await open({ revision: "onnx/fp32" })
  const folder = await hub.fetch("owner/name@onnx/fp32", follower())
  expect(folder).toBe(join(cacheFolder, "owner--name@onnx%2Ffp32"))
  const [listing] = standIn.asked
  expect(listing?.path).toBe("/api/models/owner/name/tree/onnx%2Ffp32?recursive=true")
})

test("A list of several pages is read to its end", async () => {
  const { hub } = await open({ pageLength: 1 })
  expect(await filesIn(await hub.fetch(id, follower()))).toContain("unet/model.onnx_data")
})

test("Credentials go to the hub, and not to where it keeps large files", async () => {
  const { hub, standIn } = await open({}, "hf_secret")
  await hub.fetch(id, follower())
  const [atHub, atStore] = [
    standIn.asked.filter(({ host }) => host === "hub"),
    standIn.asked.filter(({ host }) => host === "store"),
  ]
  expect(atHub.every(({ authorization }) => authorization === "Bearer hf_secret")).toBe(true)
  expect(atStore).toHaveLength(1)
  expect(atStore[0]).not.toHaveProperty("authorization")
})

test("A connection that breaks is taken up where it broke", async () => {
  const { hub, standIn } = await open()
  let breaks = 2
  standIn.onFile = (path, answer, content, start) => {
    if (path !== "unet/model.onnx_data" || breaks-- <= 0) return false
    answer.writeHead(start === 0 ? 200 : 206, { "content-length": content.length - start })
    answer.write(content.subarray(start, start + 100_000), () => answer.destroy())
    return true
  }
  const folder = await hub.fetch(id, follower())
  expect(await readFile(join(folder, "unet/model.onnx_data"))).toEqual(weights)
  const ranges = standIn.asked.filter(({ host }) => host === "store").map(({ range }) => range)
  expect(ranges).toHaveLength(3)
  expect(ranges[0]).toBeUndefined()
  expect(Number(/\d+/.exec(ranges[2] ?? "")?.[0])).toBeGreaterThan(0)
})

test("A host that knows no ranges gives the file from its beginning", async () => {
  const { hub, standIn } = await open()
  let breaks = 1
  standIn.onFile = (path, answer, content) => {
    if (path !== "unet/model.onnx_data") return false
    answer.writeHead(200, { "content-length": content.length })
    if (breaks-- > 0) answer.write(content.subarray(0, 100_000), () => answer.destroy())
    else answer.end(content)
    return true
  }
  const folder = await hub.fetch(id, follower())
  expect(await readFile(join(folder, "unet/model.onnx_data"))).toEqual(weights)
})

test("A fetch that was given up is gone on with by the next one", async () => {
  const { hub, standIn, cacheFolder } = await open()
  const controller = new AbortController()
  let held = false
  standIn.onFile = (path, answer, content, start) => {
    if (path !== "unet/model.onnx_data" || start > 0 || held) return false
    held = true
    answer.writeHead(200, { "content-length": content.length })
    answer.write(content.subarray(0, 200_000))
    setTimeout(() => controller.abort(new Error("not wanted")), 100)
    return true
  }
  await expect(hub.fetch(id, follower(controller.signal))).rejects.toThrow("not wanted")
  expect(await readdir(cacheFolder)).not.toContain("owner--name@main")
  const askedBefore = standIn.asked.length
  await hub.fetch(id, follower())
  const again = standIn.asked.slice(askedBefore)
  // The small files are there; of the large one the rest is asked for.
  expect(again.filter(({ host }) => host === "store")).toHaveLength(1)
  expect(again.find(({ host }) => host === "store")?.range).toMatch(/^bytes=[1-9]/)
  expect(again.some(({ path }) => path.endsWith("unet/model.onnx"))).toBe(false)
})

test("Those who want a model at the same time share a fetch [one gives up, one is another process]", async () => {
  const { hub, standIn, cacheFolder } = await open()
  const other = new Hub({ url: standIn.url, cacheFolder })
  const controller = new AbortController()
  const [first, second, third] = [follower(controller.signal), follower(), follower()]
  const asked = [hub.fetch(id, first), hub.fetch(id, second), other.fetch(id, third)]
  controller.abort(new Error("not wanted"))
  await expect(asked[0]).rejects.toThrow("not wanted")
  expect(await asked[1]).toBe(await asked[2])
  expect(standIn.asked.filter(({ host }) => host === "store")).toHaveLength(1)
  expect(second.lines.concat(third.lines)).toContain(
    "another process fetches owner/name; waiting for it",
  )
})

test("A file with another checksum is never given its name", async () => {
  const { hub, cacheFolder, standIn } = await open({ checksum: "0".repeat(64) })
  const failed = hub.fetch(id, follower())
  await expect(failed).rejects.toThrow(
    `owner/name: ${standIn.url} did not give model_index.json in 4 tries (its checksum was wrong)`,
  )
  await expect(failed).rejects.toMatchObject({ refusal: { type: "model_unavailable" } })
  expect(await filesIn(join(cacheFolder, "owner--name@main.partial"))).toEqual([])
})

test("A host that sends more than its listing says is not listened to", async () => {
  const { hub, standIn } = await open()
  standIn.onFile = (path, answer, content) => {
    if (path !== "unet/model.onnx_data") return false
    answer.writeHead(200)
    // Without an end: what is not counted would fill the disk.
    answer.write(Buffer.concat([content, content]))
    return true
  }
  const failed = hub.fetch(id, follower())
  await expect(failed).rejects.toThrow(/in 4 tries \(it sends more than 300000 bytes\)/)
  await expect(failed).rejects.toMatchObject({ refusal: { type: "model_unavailable" } })
})

test("A list whose pages are empty and go on for ever comes to an end", async () => {
  const { hub } = await open({ pageLength: 0 })
  await expect(hub.fetch(id, follower())).rejects.toThrow(/has no unet\/model\.onnx/)
})

test("A cache folder that cannot be made is the operator's to mend, by its path", async () => {
  const { standIn, cacheFolder } = await open()
  await writeFile(join(cacheFolder, "file"), "")
  const folder = join(cacheFolder, "file", "models")
  const failed = new Hub({ url: standIn.url, cacheFolder: folder }).fetch(id, follower())
  await expect(failed).rejects.toMatchObject({
    refusal: {
      type: "model_fault",
      message: expect.stringContaining(`${folder}/owner--name@main`),
    },
  })
})

test("Offline, the error names the model and what works nevertheless", async () => {
  const { standIn, cacheFolder } = await open()
  await standIn.close()
  const failed = new Hub({ url: standIn.url, cacheFolder }).fetch(id, follower())
  await expect(failed).rejects.toThrow(
    /^owner\/name: http:.* cannot be reached \(.*ECONNREFUSED.*\)\. Folders,/,
  )
  await expect(failed).rejects.toMatchObject({ refusal: { type: "model_unavailable" } })
})

test.each<[string, Partial<StandInModel>, string, RegExp]>([
  ["that is not there", {}, "owner/other", /^owner\/other: .* has no such model or revision/],
  [
    "with a revision that is not there",
    {},
    "owner/name@v2",
    /^owner\/name@v2: .* no such model or revision/,
  ],
  ["without ONNX", { files: { "unet/model.safetensors": "" } }, id, /has no unet\/model\.onnx/],
  [
    "with a file that would go elsewhere",
    { files: { ...files, "unet/..": "x" } },
    id,
    /has a file with the name "unet\/\.\."/,
  ],
])("A model %s is refused", async (_, model, wanted, reason) => {
  const { hub } = await open(model)
  const failed = hub.fetch(wanted, follower())
  await expect(failed).rejects.toThrow(reason)
  await expect(failed).rejects.toMatchObject({ refusal: { type: "model_fault" } })
})

test.each([
  ["owner/name", true],
  ["stabilityai/sdxl-turbo@main", true],
  ["a.b/c-d_e@refs/pr/3", true],
  ["/models/sd", false],
  ["./models/sd", false],
  ["name", false],
  ["owner/name/more", false],
  ["owner/name@../../x", false],
  ["../name", false],
])("%s is an id of a hub: %s", (text, is) => {
  expect(isHubId(text)).toBe(is)
})

test.each([
  ["unet/weights.pb", true],
  ["unet/config.json", true],
  ["text_encoder_2/model.onnx", true],
  ["tokenizer_2/merges.txt", true],
  ["vae_encoder/model.onnx.data", true],
  ["unet/model_fp16.onnx", false],
  ["unet/model_fp16.onnx_data", false],
  ["safety_checker/model.onnx", false],
  ["unet/diffusion_pytorch_model.fp16.bin", false],
  ["tokenizer/deep/vocab.json", false],
  ["v1-5-pruned.ckpt", false],
])("%s is needed: %s", (path, is) => {
  expect(isNeeded(path)).toBe(is)
})
