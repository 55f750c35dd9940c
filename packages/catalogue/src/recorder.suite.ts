import { ModelError, respond, type App, type RunContext } from "@tintype/app"
import { expect } from "vitest"
import { z } from "zod"

/** Calls of the picture apps without a runner, and all that they tell it. */

export const Answer = z.object({
  images: z.array(
    z.object({ url: z.string(), width: z.int(), height: z.int(), content_type: z.string() }),
  ),
  timings: z.record(z.string(), z.number()),
  seed: z.union([z.number(), z.string()]),
  has_nsfw_concepts: z.array(z.boolean()),
  prompt: z.string(),
})
const Refused = z.object({
  detail: z.array(
    z.object({
      loc: z.array(z.union([z.string(), z.number()])),
      type: z.string(),
      ctx: z.record(z.string(), z.unknown()).optional(),
    }),
  ),
})

/** A context that keeps what an app tells it; files and media live in `media`. */
export class Recorder implements RunContext {
  readonly requestId = "recorded"
  readonly attempt = 1
  readonly headers = {}
  readonly endpoint: string
  readonly logs: string[] = []
  readonly steps: string[] = []
  readonly chunks: unknown[] = []
  readonly answered = new Map<string, string>()
  readonly media: Map<string, Uint8Array>
  readonly signal: AbortSignal
  streaming = true
  units = 0
  onProgress: (step: number) => void = () => undefined

  constructor(endpoint: string, media = new Map<string, Uint8Array>(), signal?: AbortSignal) {
    this.endpoint = endpoint
    this.media = media
    this.signal = signal ?? new AbortController().signal
  }

  log(message: string): void {
    this.logs.push(message)
  }

  progress(step: number, steps: number): void {
    this.steps.push(`${step}/${steps}`)
    this.onProgress(step)
  }

  async emit(chunk: unknown): Promise<void> {
    this.chunks.push(chunk)
  }

  async file(bytes: Uint8Array, contentType: string) {
    const url = `memory:${this.media.size}`
    this.media.set(url, bytes)
    return { url, content_type: contentType, file_name: url, file_size: bytes.byteLength }
  }

  billableUnits(units: number): void {
    this.units = units
  }

  header(name: string, value: string): void {
    this.answered.set(name, value)
  }

  async fetchMedia(url: string) {
    const bytes = this.media.get(url)
    if (bytes === undefined) throw new ModelError("file_download_error")
    return { bytes, contentType: "application/octet-stream" }
  }
}

export interface Call {
  app: App
  path: string
  input: Record<string, unknown>
  media?: Map<string, Uint8Array>
  signal?: AbortSignal
}

export function contextOf({ app, path, media, signal }: Call): Recorder {
  return new Recorder(path === "/" ? app.id : app.id + path, media, signal)
}

export async function call(given: Call, context = contextOf(given)) {
  const input = new TextEncoder().encode(JSON.stringify(given.input))
  const answer = await respond(given.app, { path: given.path, input }, context)
  return { status: answer.status, text: new TextDecoder().decode(answer.body), context }
}

export async function paint(given: Call) {
  const { status, text, context } = await call(given)
  expect({ status, text }).toMatchObject({ status: 200 })
  const answer = Answer.parse(JSON.parse(text))
  const pictures = answer.images.map((image) => context.media.get(image.url) ?? new Uint8Array())
  return { answer, pictures, picture: pictures[0] ?? new Uint8Array(), context }
}

export async function refused(given: Call) {
  const { status, text } = await call(given)
  expect({ status, text }).toMatchObject({ status: 422 })
  return Refused.parse(JSON.parse(text)).detail[0]
}
