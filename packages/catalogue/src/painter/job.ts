import type { Picture, PictureRefusal, Preview, Source } from "@tintype/diffusion"
import type { Wish } from "./scene/scene.ts"

/** What the painter makes of one wish: a picture of its own, or the caller's picture painted over. */
export interface PaintJob {
  wish: Wish
  steps: number
  format: "jpeg" | "png"
  /** Whether somebody looks while it is painted; a preview a step is work. */
  previews: boolean
  /** Painted small and enlarged: soft, and there in a seventh of the time. For whoever wants the next one at once. */
  sketch?: boolean
  /** Absent: the wish alone decides. */
  source?: Source
}

// What a call gives and gets is the same whichever engine serves it.
export type { Picture, Preview, Source }

/** The longer side of a preview, in pixels. */
const previewSide = 64

/** The size of a picture's preview. */
export function previewSizeOf(size: { width: number; height: number }) {
  const shrink = previewSide / Math.max(size.width, size.height)
  const width = Math.max(1, Math.round(size.width * shrink))
  const height = Math.max(1, Math.round(size.height * shrink))
  return { width, height }
}

/** To a worker. `stop` is one shared integer: not zero means that nobody wants the picture any more. */
export interface Order {
  number: number
  job: PaintJob
  stop: SharedArrayBuffer
}

/** From a worker: steps, then exactly one of the others. */
export type Report =
  | { number: number; kind: "step"; step: number; preview?: Preview }
  | { number: number; kind: "picture"; picture: Picture }
  | { number: number; kind: "refused"; refusal: PictureRefusal }
  | { number: number; kind: "failed"; message: string }
