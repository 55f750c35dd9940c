import { readFile, readdir } from "node:fs/promises"
import { join, resolve } from "node:path"
import { Ajv } from "ajv"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

interface Facts {
  endpoint: string
  schemas: Record<string, object>
}

const factsFolder = resolve(import.meta.dirname, "../../packages/catalogue/fixtures/facts")
const size = { width: 128, height: 96 }

/** What each endpoint is called with here, beside the pictures. */
const inputs: Record<string, Record<string, unknown>> = {
  "fal-ai/flux/dev": { image_size: size, num_inference_steps: 3, seed: 42, num_images: 2 },
  "fal-ai/flux/schnell": { image_size: "square", acceleration: "high", output_format: "png" },
  "fal-ai/flux/dev/image-to-image": { num_inference_steps: 10, strength: 0.5 },
  "fal-ai/fast-sdxl": { image_size: size, num_inference_steps: 2, negative_prompt: "fog" },
  "fal-ai/fast-sdxl/image-to-image": { image_size: size, num_inference_steps: 2 },
  "fal-ai/fast-sdxl/inpainting": { image_size: size, num_inference_steps: 2, format: "png" },
  "fal-ai/fast-lightning-sdxl": { image_size: size, num_inference_steps: "2" },
  "fal-ai/fast-lcm-diffusion": { image_size: size, num_inference_steps: 2, sync_mode: false },
  "fal-ai/fast-lcm-diffusion/image-to-image": { image_size: size, sync_mode: false },
  "fal-ai/lcm-sd15-i2i": { strength: 0.5, num_images: 2 },
}

describe("schemas: what goes in and what comes out are what the documents say", async () => {
  const facts = await readFacts()
  let server: ServerProcess
  let picture: string

  beforeAll(async () => {
    server = await startServerProcess()
    await untilReady(server.url)
    picture = await dataUri({ r: 90, g: 120, b: 200 })
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it("covers every endpoint that has facts", () => {
    expect(facts.map((one) => one.endpoint).toSorted()).toEqual(Object.keys(inputs).toSorted())
  })

  it.each(facts)("$endpoint", async ({ endpoint, schemas }) => {
    const [inputName, outputName] = [nameOf(schemas, "Input"), nameOf(schemas, "Output")]
    const input: Record<string, unknown> = { prompt: "a red boat", ...inputs[endpoint] }
    const { properties } = schemas[inputName] as { properties: object }
    if ("image_url" in properties) input["image_url"] = picture
    if ("mask_url" in properties) input["mask_url"] = picture
    expect(violations(schemas, inputName, input)).toEqual([])

    const { fal, calls } = officialClient(server.url)
    const { data } = await fal.subscribe(endpoint, { input, pollInterval: 20 })
    expect(violations(schemas, outputName, data)).toEqual([])
    const { images, seed } = data as { images: Image[]; seed: number }
    expect(images).toHaveLength(Number(input["num_images"] ?? 1))
    expect(seed).toBe(input["seed"] ?? seed)
    for (const image of images) await expectAsDescribed(image)
    // One submit, one result, and nothing repeated behind the caller's back.
    expect(calls.filter((call) => call.method.toUpperCase() === "POST")).toHaveLength(1)
    expect(calls.every((call) => call.status === 200 || call.status === 202)).toBe(true)
  })

  it("echo returns 64-bit integers and __proto__ as they came", async () => {
    for (const text of ["12345678901234567890", '{"__proto__":1}', '{"a":1.10,  "b":[]}']) {
      const answer = await fetch(`${server.url}/run/tintype/echo`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: text,
      })
      expect(await answer.text()).toBe(text)
    }
  })

  it("a picture's seed keeps its 64 bits", async () => {
    const answer = await fetch(`${server.url}/run/fal-ai/flux/schnell`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: `{"prompt":"x","image_size":{"width":64,"height":64},"seed":9007199254740993}`,
    })
    expect(answer.status).toBe(200)
    expect(await answer.text()).toContain('"seed":9007199254740993')
  })

  it("serves the documents of what it runs", async () => {
    for (const { endpoint } of facts) {
      const route = `/api/openapi/queue/openapi.json?endpoint_id=${endpoint}`
      const document = await (await fetch(`${server.url}${route}`)).json()
      expect(document).toMatchObject({ info: { title: `Queue OpenAPI for ${endpoint}` } })
      const listed = await fetch(
        `${server.url}/v1/models?endpoint_id=${endpoint}&expand=openapi-3.0`,
      )
      const { models } = (await listed.json()) as { models: { openapi: unknown }[] }
      expect(models).toHaveLength(1)
      expect(models[0]!.openapi).toEqual(document)
    }
  })
})

interface Image {
  url: string
  width: number
  height: number
  content_type: string
}

async function expectAsDescribed(image: Image): Promise<void> {
  const response = await fetch(image.url)
  expect(response.headers.get("content-type")).toBe(image.content_type)
  const { format, width, height } = await sharp(await response.arrayBuffer()).metadata()
  expect({ type: `image/${format}`, width, height }).toEqual({
    type: image.content_type,
    width: image.width,
    height: image.height,
  })
}

/** What a JSON Schema validator that knows nothing of us has against the value. */
function violations(schemas: Record<string, object>, name: string, value: unknown): unknown[] {
  const ajv = new Ajv({ strict: false, allErrors: true })
  ajv.addSchema({ $id: "facts", components: { schemas } })
  ajv.validate({ $ref: `facts#/components/schemas/${name}` }, value)
  return ajv.errors ?? []
}

function nameOf(schemas: Record<string, object>, suffix: string): string {
  return Object.keys(schemas).find((name) => name.endsWith(suffix))!
}

async function readFacts(): Promise<Facts[]> {
  const names = (await readdir(factsFolder)).filter((name) => name.endsWith(".json"))
  const texts = names.map((name) => readFile(join(factsFolder, name), "utf8"))
  return (await Promise.all(texts)).map((text) => JSON.parse(text) as Facts)
}

async function dataUri(background: { r: number; g: number; b: number }): Promise<string> {
  const create = { width: 160, height: 120, channels: 3 as const, background }
  const png = await sharp({ create }).png().toBuffer()
  return `data:image/png;base64,${png.toString("base64")}`
}
