import { execFile } from "node:child_process"
import { resolve } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readEndpoint } from "../../packages/cli/src/declarations/document.ts"
import { writeDeclarations } from "../../packages/cli/src/declarations/write-declarations.ts"
import { removeDataFolder, type ServerProcess, startServerProcess } from "../server-process.ts"
import { trickyModel } from "./tricky-model.ts"
import { typeCheck } from "./type-check.ts"

const bin = resolve(import.meta.dirname, "../../packages/cli/bin/tintype.js")

describe("tintype types", () => {
  let server: ServerProcess
  let declarations: string

  const types = async (...args: string[]) => {
    const env = { ...process.env, TINTYPE_URL: server.url }
    const run = promisify(execFile)(process.execPath, [bin, "types", ...args], { env })
    return (await run).stdout
  }

  beforeAll(async () => {
    server = await startServerProcess()
    declarations = await types()
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it("writes the same text again", async () => {
    expect(await types()).toBe(declarations)
  })

  it("writes the endpoints that are asked for, and refuses those that are not there", async () => {
    const one = await types("--endpoint", "fal-ai/flux/dev")
    expect(one.match(/^ {4}"[^"]+": \{/gm)).toEqual(['    "fal-ai/flux/dev": {'])
    await expect(types("--endpoint", "fal-ai/none")).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Endpoint "fal-ai/none" not found'),
    })
    await expect(types("fal-ai/flux/dev")).rejects.toMatchObject({ code: 2 })
  })

  it("makes every call typed: what is right passes, what is wrong does not", async () => {
    const program = `
import { createClient, type Input, type Output } from "@tintype/client"
const client = createClient()
const endpoint = "fal-ai/flux/dev"

// Everything that has a default may be left out; enums, objects in their place, null.
const { data, requestId } = await client.run(endpoint, { input: { prompt: "x" } })
await client.run(endpoint, {
  input: { prompt: "x", image_size: "square_hd", seed: null, output_format: "png", num_images: 2 },
})
await client.subscribe(endpoint, { input: { prompt: "x", image_size: { width: 512 } } })
const width: number | undefined = data.images[0]?.width
const url: string | undefined = data.images[0]?.url
const seed: number = data.seed
const id: string = requestId

// @ts-expect-error -- required
await client.run(endpoint, { input: {} })
// @ts-expect-error -- of another type
await client.run(endpoint, { input: { prompt: 7 } })
// @ts-expect-error -- not one of the enum
await client.run(endpoint, { input: { prompt: "x", image_size: "huge" } })
// @ts-expect-error -- unknown
await client.run(endpoint, { input: { prompt: "x", promt: "y" } })
// @ts-expect-error -- no input at all
await client.run(endpoint, {})
// @ts-expect-error -- not in the output
data.videos
// @ts-expect-error -- the queue is typed, too
await client.queue.submit(endpoint, { input: { prompt: 7 } })
// @ts-expect-error -- and streams
await client.stream(endpoint, { input: { prompt: 7 } })

// Where the URL of a file is taken, so is the file; null only where it may be.
const edit = "fal-ai/flux/dev/image-to-image"
await client.run(edit, { input: { prompt: "x", image_url: "https://example.com/a.png" } })
await client.run(edit, { input: { prompt: "x", image_url: new Blob([]) } })
// @ts-expect-error -- not a file
await client.run(edit, { input: { prompt: "x", image_url: 7 } })
// @ts-expect-error -- it must be there
await client.run(edit, { input: { prompt: "x", image_url: null } })

const result = await client.queue.result(endpoint, { requestId })
const again: string | undefined = result.data.images[0]?.url
for await (const event of await client.stream(endpoint, { input: { prompt: "x" } })) {
  const preview: string | undefined = event.images[0]?.url
}

// The types have names of their own.
const taken: Input<"fal-ai/flux/dev"> = { prompt: "x" }
const show = (output: Output<"fal-ai/flux/dev">) => output.images.map((image) => image.url)

// What nobody has described is called all the same: anything in, unknown out.
const other = await client.run("someone/else", { input: { whatever: [1] } })
const unknown: unknown = other.data
// @ts-expect-error -- so it has to be looked at first
other.data.images
// @ts-expect-error -- an input is never a text
await client.run("someone/else", { input: "text" })

// A server of other endpoints, beside the first.
interface Others { "a/b": { input: { n: number }; output: { m: string } } }
const others = createClient<Others>({ url: "http://127.0.0.1:1" })
const m: string = (await others.run("a/b", { input: { n: 1 } })).data.m
// @ts-expect-error -- of another type
await others.run("a/b", { input: { n: "1" } })
const connection = others.realtime.connect("a/b", {
  onResult: ({ m: text }: { m: string }) => text.length,
})
connection.send({ n: 1 })
// @ts-expect-error -- of another type
connection.send({ n: "1" })
// @ts-expect-error -- whoever does not say what comes has to look
others.realtime.connect("a/b", { onResult: (result) => result.m })

export { again, id, m, seed, show, taken, unknown, url, width }
`
    const said = await typeCheck({ "program.ts": program, "tintype.d.ts": declarations })
    expect(said).toEqual([])
  })

  it("of what is strange in documents, writes what compiles and what is meant", async () => {
    const tricky = writeDeclarations([readEndpoint(trickyModel)])
    const program = `
import { createClient, type Input } from "@tintype/client"
const client = createClient()
const id = "1st-owner/strange.app/v1.5/*"
const input: Input<typeof id> = {
  class: "a",
  "with-dash": [1, null],
  tree: { children: [{ children: [] }] },
  "mixed": { a: "x", anything: 7 },
  both: { one: 1, two: "2" },
  quote: "it's \\"so\\"",
  image_urls: [new Blob([]), "https://example.com"],
}
const { data } = await client.run(id, { input })
const text: string | number | null = data.either
// @ts-expect-error -- a tuple
const wrong: Input<typeof id>["with-dash"] = [1]
// @ts-expect-error -- both at once
const half: Input<typeof id>["both"] = { one: 1 }
export { text, wrong, half }
`
    expect(await typeCheck({ "program.ts": program, "tintype.d.ts": tricky })).toEqual([])
  })
})

it("without declarations every endpoint is called untyped", async () => {
  const program = `
import { createClient } from "@tintype/client"
const { data } = await createClient().run("fal-ai/flux/dev", { input: { prompt: 7 } })
const unknown: unknown = data
export { unknown }
`
  expect(await typeCheck({ "program.ts": program })).toEqual([])
})
