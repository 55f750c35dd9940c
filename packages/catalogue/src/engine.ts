import { ModelError } from "@tintype/app"
import type { Audience, Job, Picture, Refusal } from "@tintype/diffusion"

/**
 * What makes the pictures of an endpoint. The adapters are in `engines/`: the painter, which needs no weights, and diffusion,
 * which is real inference. The apps know this port alone; which engine an endpoint has is configuration (`engine-choice.ts`).
 */
export interface Engine {
  readonly name: EngineName
  /** For the documents: who makes the pictures. */
  readonly description: string
  /** Headers of every answer that say the same, beside `x-engine`. */
  readonly headers: Readonly<Record<string, string>>
  /**
   * One picture a seed, in their order. The audience hears of each step, with previews where the order asks for them and the
   * engine can make them; of a realtime order it may hear nothing. Off the event loop. Stops within a step of an
   * abort. Throws `ModelError`, or the signal's reason; the same order gives the same bytes.
   */
  makePictures(order: Order, audience: Audience): Promise<Picture[]>
}

export type EngineName = "painter" | "diffusion"

/** What one call wants, whichever engine makes it. */
export interface Order extends Omit<Job, "model"> {
  /** As called, `owner/alias[/path]`. */
  endpoint: string
  /** The next one is on its way already: speed is worth more than finish. */
  realtime: boolean
}

/** Which engine an endpoint has, by its id. */
export type EngineOf = (endpoint: string) => Engine

/** What an engine refuses of the caller's, in the words of the API. */
export function refuse({ type, field, message, ctx }: CallerRefusal): ModelError {
  const loc = ["body", field]
  return new ModelError(type, { msg: message, loc, ...(ctx === undefined ? {} : { ctx }) })
}

type CallerRefusal = Extract<Refusal, { field: string }>
