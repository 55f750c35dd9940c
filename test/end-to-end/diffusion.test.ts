import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import type { QueueStatus } from "@fal-ai/client"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeRandomModel } from "../../packages/catalogue/src/random-model.suite.ts"
import { until } from "../crash/probe-calls.ts"
import { officialClient } from "../official-client.ts"
import { startRunnerProcess } from "../runner-process.ts"
import {
  removeDataFolder,
  type ServerProcess,
  spawnServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"

interface Pictures {
  images: { url: string; width: number; height: number; content_type: string }[]
  timings: { inference: number }
  seed: number
}

const prompt = "a red fish in the sea"

describe("diffusion with the official client", () => {
  let server: ServerProcess
  let model: string
  let hollow: string

  beforeAll(async () => {
    model = await makeRandomModel()
    hollow = await mkdtemp(join(tmpdir(), "tintype-hollow-"))
    const engine = "diffusion"
    const engines = {
      "tintype/miniature": { engine, model },
      "fal-ai/fast-sdxl": { engine, model, scheduler: "euler" },
      "fal-ai/fast-sdxl/inpainting": { engine: "painter" },
      "fal-ai/fast-lcm-diffusion": { engine, model: hollow },
    }
    const data = await mkdtemp(join(tmpdir(), "tintype-test-"))
    server = await startServerProcess({ data, config: { engines, diffusion: { threads: 2 } } })
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
    for (const folder of [model, hollow]) await rm(folder, { recursive: true, force: true })
  })

  /** The answer's headers, which the client does not show. */
  async function run(endpoint: string, input: object) {
    const answer = await fetch(`${server.url}/run/${endpoint}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(input),
    })
    return { status: answer.status, headers: answer.headers, body: await answer.text() }
  }

  const runnerLog = () => readFile(join(server.data, "runner.log"), "utf8")

  it("subscribes: each step is logged, then a JPEG of the asked size", async () => {
    const { fal } = officialClient(server.url)
    const updates: QueueStatus[] = []
    const { data } = await fal.subscribe("tintype/miniature", {
      input: { prompt, seed: 7, num_inference_steps: 6 },
      logs: true,
      pollInterval: 20,
      onQueueUpdate: (update) => updates.push(update),
    })
    const [image] = (data as Pictures).images
    expect(image).toMatchObject({ width: 512, height: 512, content_type: "image/jpeg" })
    const bytes = await (await fetch(image!.url)).arrayBuffer()
    expect(await sharp(bytes).metadata()).toMatchObject({ format: "jpeg", width: 512 })
    const { logs } = updates.at(-1) as { logs: { message: string }[] }
    const lines = logs.map(({ message }) => message)
    for (let step = 1; step <= 6; step++) expect(lines).toContain(`step ${step}/6`)
    expect(lines.join("\n")).not.toContain(resolve(import.meta.dirname, "../.."))
  })

  it("streams: a preview a step, then the picture", async () => {
    const { fal } = officialClient(server.url)
    const input = { prompt, seed: 7, num_inference_steps: 4, num_images: 2 }
    const stream = await fal.stream("tintype/miniature", { input })
    const events: Pictures[] = []
    for await (const event of stream) events.push(event as Pictures)
    expect(events).toHaveLength(5)
    for (const { images, seed } of events.slice(0, 4)) {
      expect(seed).toBe(7)
      expect(images).toHaveLength(2)
      expect(images[0]!.url).toMatch(/^data:image\/jpeg;base64,/)
    }
    expect(events[4]!.images[1]!.url).toMatch(/^http.*\/files\//)
    expect(await stream.done()).toEqual(events[4])
  })

  it("answers in realtime with bytes, those of a call with so many steps", async () => {
    const url = `${server.url.replace("http", "ws")}/tintype/miniature/realtime`
    const socket = new WebSocket(url)
    socket.binaryType = "arraybuffer"
    await new Promise((open) => socket.addEventListener("open", open))
    const input = { prompt, seed: 9, image_size: { width: 96, height: 64 } }
    const heard = new Promise<{ data: unknown }>((message) =>
      socket.addEventListener("message", message, { once: true }),
    )
    socket.send(JSON.stringify({ ...input, request_id: "1" }))
    const answer = JSON.parse(String((await heard).data)) as {
      request_id: string
      images: { content: string }[]
    }
    socket.close()
    expect(answer).toMatchObject({ request_id: "1", images: [{ width: 96, height: 64 }] })
    const few = await run("tintype/miniature", {
      ...input,
      num_inference_steps: 4,
      sync_mode: true,
    })
    const [image] = (JSON.parse(few.body) as Pictures).images
    expect(image!.url).toBe(`data:image/jpeg;base64,${answer.images[0]!.content}`)
  })

  it("draws the newest input in realtime, not all that came meanwhile", async () => {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/tintype/miniature/realtime`)
    await new Promise((open) => socket.addEventListener("open", open))
    const answered: string[] = []
    const last = new Promise<void>((found) =>
      socket.addEventListener("message", (message) => {
        const { request_id: id } = JSON.parse(String(message.data)) as { request_id: string }
        answered.push(id)
        if (id === "9") found()
      }),
    )
    for (let id = 1; id <= 9; id++) {
      socket.send(JSON.stringify({ prompt, num_inference_steps: 20, request_id: String(id) }))
    }
    await last
    socket.close()
    expect(answered.length).toBeLessThan(9)
  })

  it("says which engine it was; the same input and seed give the same bytes", async () => {
    const input = { prompt, seed: 3, num_inference_steps: 2, sync_mode: true }
    const first = await run("fal-ai/fast-sdxl", input)
    expect(first.status).toBe(200)
    expect(first.headers.get("x-engine")).toBe("diffusion")
    expect(first.headers.get("x-painter")).toBeNull()
    const [again, other] = [
      await run("fal-ai/fast-sdxl", input),
      await run("fal-ai/fast-sdxl", { ...input, seed: 4 }),
    ]
    expect(pictureOf(again)).toBe(pictureOf(first))
    expect(pictureOf(other)).not.toBe(pictureOf(first))
    const painted = await run("fal-ai/flux/schnell", { ...input, image_size: "square" })
    expect(painted.headers.get("x-engine")).toBe("painter")
  })

  it("a cancel frees the processor: the next picture does not wait for the one given up", async () => {
    const { fal } = officialClient(server.url)
    const long = { prompt, num_inference_steps: 50, num_images: 8, seed: 1 }
    const { request_id: requestId } = await fal.queue.submit("fal-ai/fast-sdxl", { input: long })
    const status = async () =>
      (await (
        await fetch(`${server.url}/queue/fal-ai/fast-sdxl/requests/${requestId}/status?logs=1`)
      ).json()) as { status: string; logs?: { message: string }[] }
    await until("a step", async () =>
      ((await status()).logs ?? []).some(({ message }) => message.startsWith("step ")),
    )
    await fal.queue.cancel("fal-ai/fast-sdxl", { requestId })
    await until("its end", async () => (await status()).status === "COMPLETED")
    const { status: next } = await run("tintype/miniature", { prompt, num_inference_steps: 1 })
    expect(next).toBe(200)
    const { logs = [] } = await status()
    expect(logs.some(({ message }) => message === "step 50/50")).toBe(false)
  })

  it("a model that cannot be used is told by its path in the runner's log alone", async () => {
    const { status, body } = await run("fal-ai/fast-lcm-diffusion", { prompt })
    expect(status).toBe(500)
    expect(JSON.parse(body)).toMatchObject({ detail: [{ type: "internal_server_error" }] })
    expect(body).not.toContain(hollow)
    expect(await runnerLog()).toContain(`fal-ai/fast-lcm-diffusion: ${hollow}`)
  })

  it("tells in the runner's log what is in memory", async () => {
    await run("fal-ai/fast-sdxl", { prompt, num_inference_steps: 1 })
    expect(await runnerLog()).toMatch(/Models in memory: .*\d MB/)
  })

  it("says in the list who makes the pictures", async () => {
    const ids = "fal-ai/fast-sdxl,fal-ai/fast-sdxl/inpainting"
    const list = await fetch(`${server.url}/v1/models?endpoint_id=${ids}`)
    const { models } = (await list.json()) as {
      models: { endpoint_id: string; metadata: { description: string } }[]
    }
    const told = models.map(({ metadata }) => metadata.description.split(" ")[0])
    expect(new Set(told)).toEqual(new Set(["Diffused", "Painted"]))
  })
})

describe("the model in the box", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess()
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it("draws what the prompt says, with nothing configured", async () => {
    const { fal } = officialClient(server.url)
    const colourOf = async (name: string) => {
      const input = { prompt: `a picture of a large ${name} circle`, seed: 1, output_format: "png" }
      const { data } = await fal.subscribe("tintype/miniature", { input, pollInterval: 20 })
      const bytes = await (await fetch((data as Pictures).images[0]!.url)).arrayBuffer()
      const middle = sharp(bytes).extract({ left: 192, top: 192, width: 128, height: 128 })
      const [red, , blue] = (await middle.stats()).channels
      return red!.mean - blue!.mean
    }
    expect(await colourOf("red")).toBeGreaterThan((await colourOf("blue")) + 60)
  })
})

function pictureOf({ body }: { body: string }): string {
  return (JSON.parse(body) as Pictures).images[0]!.url
}

it("a runner of an earlier life that has other engines is not adopted", async () => {
  const first = await startServerProcess()
  await untilReady(first.url)
  await first.kill("SIGKILL")
  const env = { TINTYPE_ENGINES: `{"tintype/miniature":{"engine":"painter"}}` }
  const second = await startServerProcess({ data: first.data, env })
  const ended = await second.logged(({ event }) => event === "runner_ended")
  expect(ended).toMatchObject({ why: "another build" })
  await untilReady(second.url)
  await second.kill("SIGTERM")
  await removeDataFolder(second.data)
})

describe("engines that cannot be kept", () => {
  let data: string

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), "tintype-test-"))
  })

  afterAll(() => removeDataFolder(data))

  it.each([
    [
      { "fal-ai/fast-sdx": { engine: "painter" } },
      "engines: fal-ai/fast-sdx is no picture endpoint",
    ],
    [{ "fal-ai/flux": { engine: "gan" } }, "engines: fal-ai/flux: engine: must be painter or diff"],
    [{ "fal-ai/flux": { engine: "diffusion", model: "./no" } }, "there is no folder"],
  ])("keep the server from starting, in one line [%j]", async (engines, line) => {
    const { closed, stderr } = spawnServerProcess({ data, config: { engines } })
    expect(await closed).toBe(2)
    expect(stderr).toHaveLength(1)
    expect(stderr[0]).toContain(line)
  })

  it("keep a runner from joining", async () => {
    const runner = startRunnerProcess(
      ["--app", "@tintype/catalogue", "--url", "http://127.0.0.1:1"],
      { TINTYPE_KEY: "a:b", TINTYPE_ENGINES: `{"fal-ai/flux":{"engine":"gan"}}` },
    )
    await runner.said("engines: fal-ai/flux: engine: must be painter or diffusion")
    expect(await runner.closed).toBe(1)
  })
})
