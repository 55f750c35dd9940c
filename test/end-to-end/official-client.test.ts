import { ApiError, ValidationError, type QueueStatus } from "@fal-ai/client"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

interface Pictures {
  images: { url: string; width: number; height: number; content_type: string }[]
  seed: number
  prompt: string
}

const input = { prompt: "a lighthouse at dusk", seed: 7, num_inference_steps: 4 }
const small = { ...input, image_size: { width: 256, height: 192 } }

describe("the official JavaScript client, unmodified", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess({ args: ["--apps", "./test/apps/probe.ts"] })
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it("subscribes by polling: updates and logs while it runs, then a JPEG of the asked size", async () => {
    const { fal, calls } = officialClient(server.url)
    const updates: QueueStatus[] = []
    const result = await fal.subscribe("fal-ai/flux/dev", {
      input,
      logs: true,
      pollInterval: 20,
      onQueueUpdate: (update) => updates.push(update),
    })
    const data = result.data as Pictures
    const picture = await readPicture(data.images[0]!.url)
    expect(picture).toEqual({ format: "jpeg", width: 1024, height: 768 })
    expect(data.images[0]).toMatchObject({ width: 1024, height: 768, content_type: "image/jpeg" })
    expect(data).toMatchObject({ seed: 7, prompt: input.prompt })
    expect(updates.at(-1)!.status).toBe("COMPLETED")
    const lines = (updates.at(-1) as { logs: { message: string }[] }).logs
    expect(lines.some((line) => /step/i.test(line.message))).toBe(true)
    expect(result.requestId).toMatch(/^[0-9a-f-]{36}$/)
    const submits = calls.filter((call) => call.method.toUpperCase() === "POST")
    expect(submits.map((call) => call.status)).toEqual([200])
  })

  it("subscribes by streaming: logs come in pieces and add up", async () => {
    const { fal, calls } = officialClient(server.url)
    const updates: QueueStatus[] = []
    await fal.subscribe("test/probe", {
      input: { lines: 10, duration_ms: 500 },
      logs: true,
      mode: "streaming",
      onQueueUpdate: (update) => updates.push(update),
    })
    const lines = (updates.at(-1) as { logs: { message: string }[] }).logs
    const expected = Array.from({ length: 10 }, (_, index) => `line ${index + 1}`)
    expect(lines.map((line) => line.message)).toEqual(expected)
    expect(updates.some((update) => update.status === "IN_PROGRESS")).toBe(true)
    expect(calls).toHaveLength(3)
  })

  it("runs, and gets the request id", async () => {
    const { fal, calls } = officialClient(server.url)
    const result = await fal.run("fal-ai/fast-sdxl", { input: { ...small, format: "png" } })
    const data = result.data as Pictures
    expect(await readPicture(data.images[0]!.url)).toEqual({
      format: "png",
      width: 256,
      height: 192,
    })
    expect(result.requestId).toMatch(/^[0-9a-f-]{36}$/)
    expect(calls).toHaveLength(1)
  })

  it("submits, asks, and fetches the result of a queue request", async () => {
    const { fal } = officialClient(server.url)
    const submitted = await fal.queue.submit("fal-ai/flux/schnell", { input: small })
    expect(submitted).toMatchObject({ status: "IN_QUEUE" })
    const { request_id: requestId } = submitted
    const status = await fal.queue.subscribeToStatus("fal-ai/flux/schnell", {
      requestId,
      pollInterval: 20,
    })
    expect(status).toMatchObject({ status: "COMPLETED", request_id: requestId })
    expect(
      (status as { metrics: { inference_time: number } }).metrics.inference_time,
    ).toBeGreaterThan(0)
    const result = await fal.queue.result("fal-ai/flux/schnell", { requestId })
    expect(result.requestId).toBe(requestId)
  })

  it("cancels: a running request ends with 499, a finished one cannot be cancelled", async () => {
    const { fal } = officialClient(server.url)
    const running = await fal.queue.submit("test/probe", { input: { duration_ms: 60_000 } })
    await untilStatus(fal, running.request_id, "IN_PROGRESS")
    await fal.queue.cancel("test/probe", { requestId: running.request_id })
    await untilStatus(fal, running.request_id, "COMPLETED")
    const outcome = await caught(fal.queue.result("test/probe", { requestId: running.request_id }))
    expect(outcome).toMatchObject({
      status: 499,
      message: "Client Closed Request",
      body: { error_type: "client_cancelled" },
    })

    const done = await fal.subscribe("test/probe", { input: {}, pollInterval: 20 })
    const late = await caught(fal.queue.cancel("test/probe", { requestId: done.requestId }))
    expect(late).toMatchObject({ status: 400, body: { status: "ALREADY_COMPLETED" } })
  })

  it("gets a ValidationError with the fields of Pydantic's", async () => {
    const { fal, calls } = officialClient(server.url)
    const wrong = { prompt: "x", num_inference_steps: 99 }
    const error = await caught(fal.subscribe("fal-ai/flux/dev", { input: wrong, pollInterval: 20 }))
    expect(error).toBeInstanceOf(ValidationError)
    const [first] = (error as ValidationError).fieldErrors
    expect(first).toMatchObject({
      loc: ["body", "num_inference_steps"],
      type: "less_than_equal",
      msg: "Input should be less than or equal to 50",
    })
    expect((error as ValidationError).getFieldErrors("num_inference_steps")).toHaveLength(1)
    // Never validated at submit: the queue takes it, the result tells.
    expect(calls[0]).toMatchObject({ status: 200 })
    expect(calls.at(-1)).toMatchObject({ status: 422 })
  })

  it("aborts a run, and the request ends for the platform too", async () => {
    const { fal } = officialClient(server.url)
    const abort = new AbortController()
    const running = caught(
      fal.run("test/probe", { input: { duration_ms: 60_000 }, abortSignal: abort.signal }),
    )
    const started = server.logged(
      (entry) => entry["event"] === "request" && entry["status"] === 499,
    )
    setTimeout(() => abort.abort(), 300)
    expect(await running).toBeInstanceOf(Error)
    await started
  })

  it("learns of an unknown app and of an unknown id", async () => {
    const { fal } = officialClient(server.url)
    const unknown = await caught(fal.queue.submit("fal-ai/flux-devv", { input: {} }))
    expect(unknown).toBeInstanceOf(ApiError)
    expect(unknown).toMatchObject({
      status: 404,
      body: { detail: 'Application "fal-ai/flux-devv" not found' },
    })
    const requestId = "00000000-0000-4000-8000-000000000000"
    const missing = await caught(fal.queue.result("fal-ai/flux/dev", { requestId }))
    expect(missing).toMatchObject({ status: 404, body: { status: "NOT_FOUND" } })
  })

  it("reports a thrown error as a 500 without a stack", async () => {
    const { fal } = officialClient(server.url)
    const error = await caught(fal.run("test/probe", { input: { fail: "throw" } }))
    expect(error).toMatchObject({ status: 500, body: { error_type: "runner_server_error" } })
    expect(JSON.stringify((error as ApiError<unknown>).body)).not.toMatch(/told to throw|at /)
  })
})

async function readPicture(url: string) {
  const response = await fetch(url)
  expect(response.status).toBe(200)
  const { format, width, height } = await sharp(await response.arrayBuffer()).metadata()
  return { format, width, height }
}

async function untilStatus(
  fal: ReturnType<typeof officialClient>["fal"],
  requestId: string,
  wanted: string,
): Promise<void> {
  for (;;) {
    const { status } = await fal.queue.status("test/probe", { requestId })
    if (status === wanted) return
    await new Promise((next) => setTimeout(next, 20))
  }
}

async function caught(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => {
      throw new Error(`expected a rejection, got ${JSON.stringify(value)}`)
    },
    (error: unknown) => error,
  )
}
