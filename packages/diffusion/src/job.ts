/** What one call wants. Pictures of one job are made together, one a seed. */
export interface Job {
  /** A folder, or a hub id `owner/name[@revision]`. */
  model: string
  prompt: string
  negativePrompt: string
  /** One picture each: decimal integers. */
  seeds: readonly string[]
  steps: number
  guidanceScale: number
  /** Of the picture, in pixels; the model works at a size near its native one, and the picture is enlarged. */
  size: { width: number; height: number }
  /** Absent: the one of the model's own configuration. */
  scheduler?: SchedulerName
  source?: Source
  format: "jpeg" | "png"
  /** Whether somebody looks: a preview after each step. */
  previews: boolean
}

/** The field's names; the files in `schedulers/` say which class of diffusers each is. */
export type SchedulerName = "ddim" | "euler" | "dpm-solver++" | "lcm" | "flow-match-euler"

export interface Source {
  /** The caller's picture as it was fetched: a file's bytes. */
  image: Uint8Array
  /** White is painted over, black stays. */
  mask?: Uint8Array
  /** 0 leaves the picture, 1 leaves nothing of it. */
  strength: number
  /** How the picture comes to the job's size; `keep` takes the picture's own size instead. */
  fit: "fill" | "inside" | "cover" | "keep"
  pixelsMax: number
}

export interface Picture {
  bytes: Uint8Array<ArrayBuffer>
  width: number
  height: number
  contentType: "image/jpeg" | "image/png"
}

/** A picture after a step: cheap and small. */
export interface Preview {
  /** A data URI. */
  url: string
  width: number
  height: number
}

/** Who follows a job. */
export interface Audience {
  readonly signal: AbortSignal
  log(message: string): void
  progress(step: number, steps: number): void
  /**
   * One preview a picture, after a step, where the job asks for them. The next step waits for the promise, those of a job two
   * seconds in all; then it goes on without, and what comes while it is not settled is passed over.
   */
  onPreviews?(previews: Preview[]): Promise<void>
}
