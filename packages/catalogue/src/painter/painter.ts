import { setTimeout as wait } from "node:timers/promises"
import type { RunContext } from "@tintype/app"
import type { PaintJob, Picture, Preview } from "./job.ts"
import { PainterPool } from "./pool.ts"

/** How long a step takes at least: slow enough to watch, 1.4 s for 28 steps. `TINTYPE_PACE=0` turns it off. */
const stepMs = 50

const pool = new PainterPool()

/** What the painter tells while it paints; `onPreviews` gets one for each picture after a step, where jobs ask for them. */
export interface Audience extends Pick<RunContext, "signal" | "log" | "progress"> {
  onPreviews?(previews: Preview[]): Promise<void>
}

/**
 * Paints one picture a job, all of them step by step: a step is told when every picture has taken it. Throws
 * `PictureError`, or the reason of the signal.
 */
export async function paintPictures(
  jobs: readonly PaintJob[],
  audience: Audience,
  painters: PainterPool = pool,
): Promise<Picture[]> {
  const { signal } = audience
  const steps = jobs[0]?.steps ?? 0
  const pace = process.env["TINTYPE_PACE"] === "0" ? 0 : stepMs
  audience.log("painting procedurally: this picture is not a model's output")
  const gates = Array.from({ length: steps }, () => new Gate(jobs.length))
  const pictures = paintAll(jobs, signal, painters, (index, step, preview) =>
    gates[step - 1]?.pass(index, preview),
  )
  // A rejection is met by the race below, or by nobody when the wait between two steps is aborted first.
  pictures.catch(() => undefined)
  const startedAt = performance.now()
  for (const [index, gate] of gates.entries()) {
    const step = index + 1
    await Promise.race([gate.open, pictures])
    const restMs = startedAt + step * pace - performance.now()
    if (pace > 0 && restMs > 0) await wait(restMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
    audience.log(`step ${step}/${steps}`)
    audience.progress(step, steps)
    if (gate.previews.length === jobs.length) await audience.onPreviews?.(gate.previews)
  }
  return pictures
}

/** The same at once: nobody watches. */
export async function sketchPictures(
  jobs: readonly PaintJob[],
  signal: AbortSignal,
  painters: PainterPool = pool,
): Promise<Picture[]> {
  const sketches = jobs.map((job) => ({ ...job, sketch: true }))
  return await paintAll(sketches, signal, painters, () => {})
}

/** One picture that fails ends the others. */
async function paintAll(
  jobs: readonly PaintJob[],
  signal: AbortSignal,
  painters: PainterPool,
  onStep: (index: number, step: number, preview?: Preview) => void,
): Promise<Picture[]> {
  const failure = new AbortController()
  const either = AbortSignal.any([signal, failure.signal])
  try {
    return await Promise.all(
      jobs.map((job, index) =>
        painters.paint(job, either, (step, preview) => onStep(index, step, preview)),
      ),
    )
  } catch (error) {
    failure.abort(error)
    throw error
  }
}

/** Opens when every picture has passed, and keeps what each looked like then. */
class Gate {
  readonly open: Promise<void>
  readonly previews: Preview[] = []
  #left: number
  readonly #unlock: () => void

  constructor(count: number) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.open = promise
    this.#unlock = resolve
    this.#left = count
  }

  pass(index: number, preview?: Preview): void {
    if (preview !== undefined) this.previews[index] = preview
    this.#left--
    if (this.#left === 0) this.#unlock()
  }
}
