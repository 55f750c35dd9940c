import type { PictureRefusal } from "@tintype/diffusion"
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

export interface Source {
  /** The caller's picture as it was fetched. */
  image: Uint8Array
  /** White is painted over, black stays. */
  mask?: Uint8Array
  /** 0 leaves the picture, 1 leaves little of it. */
  strength: number
  /**
   * How the picture comes to the wish's size: stretched, made to fit inside it, or covering it and cut off; `keep`
   * takes the picture's own size instead.
   */
  fit: "fill" | "inside" | "cover" | "keep"
  pixelsMax: number
}

export interface Picture {
  bytes: Uint8Array<ArrayBuffer>
  width: number
  height: number
  contentType: "image/jpeg" | "image/png"
}

/** What a picture looks like after a step. */
export interface Preview {
  /** A data URI. */
  url: string
  width: number
  height: number
}

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
