import type { LogLevel } from "@tintype/protocol"

/** An output file, in the shape that image and video models answer with. */
export interface OutputFile {
  url: string
  content_type: string
  file_name: string
  file_size: number
}

export interface Media {
  bytes: Uint8Array
  contentType: string
}

export interface MediaLimits {
  bytesMax?: number
  timeoutMs?: number
  /** Of the input, for an error's `loc`: `["image_url"]`, `["loras", 0, "path"]`. */
  field?: readonly (string | number)[]
}

/** What the runner gives to one attempt. */
export interface RunContext {
  readonly requestId: string
  /** As called, `owner/alias[/path]`. */
  readonly endpoint: string
  readonly attempt: number
  readonly headers: Readonly<Record<string, string>>
  /** Aborted when the request is cancelled or the server stops. */
  readonly signal: AbortSignal
  log(message: string, options?: { level?: LogLevel; labels?: Record<string, string> }): void
  progress(step: number, steps: number): void
  /** Somebody reads along: a preview that is work to make is worth it. */
  readonly streaming: boolean
  /**
   * A chunk of the answer's stream; JSON. Without a reader it goes nowhere, at once. Resolves when there is room for the
   * next chunk, so an app that awaits it goes at its reader's speed; rejects when the signal is aborted. Throws a `RangeError`
   * for a chunk above 4 MiB, and when an app that does not await is 8 MiB ahead.
   */
  emit(chunk: unknown): Promise<void>
  /** Stores an output durably; the URL is final. */
  file(bytes: Uint8Array, contentType: string): Promise<OutputFile>
  /** What the call costs; sent as `x-fal-billable-units`. */
  billableUnits(units: number): void
  /** A header of the answer. */
  header(name: string, value: string): void
  /** Reads a URL the caller gave, one of our own files or a data URI; bounded and safe. Throws a `ModelError`. */
  fetchMedia(url: string, limits?: MediaLimits): Promise<Media>
}
