import type { Settings } from "../settings.ts"
import { upload } from "./upload.ts"

/** Deeper than this no input is; what is, contains itself. */
const depthMax = 64

/** A copy of the input in which every `Blob` is uploaded and stands as its URL; what holds none is the very same. */
export async function transformInput(
  settings: Settings,
  input: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  const blobs = new Set<Blob>()
  collect(input, blobs, 0)
  if (blobs.size === 0) return input
  const urls = new Map<Blob, string>()
  // One after the other: each is sent in several parts at a time already. The same file twice is sent once.
  for (const blob of blobs) urls.set(blob, await upload(settings, blob, { signal }))
  return replace(input, urls)
}

function collect(value: unknown, blobs: Set<Blob>, depth: number): void {
  if (depth > depthMax) throw new TypeError(`The input is nested deeper than ${depthMax} levels`)
  if (value instanceof Blob) blobs.add(value)
  else if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) collect(inner, blobs, depth + 1)
  }
}

function replace(value: unknown, urls: Map<Blob, string>): unknown {
  if (value instanceof Blob) return urls.get(value)
  if (Array.isArray(value)) return value.map((inner) => replace(inner, urls))
  if (typeof value !== "object" || value === null || !isPlain(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, replace(inner, urls)]),
  )
}

/** A `Date` and the like write themselves. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
