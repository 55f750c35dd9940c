import { type ChunkFrame, linkChunkOverheadBytes } from "@tintype/protocol"
import { runnerLimits } from "../limits.ts"

export type Chunk = Pick<ChunkFrame, "seq" | "data">

export interface ChunkBufferOptions {
  /** Nobody reads along: every chunk goes nowhere, at once. */
  streams: boolean
  /** The attempt's: whoever waits for room is let go by it. */
  signal: AbortSignal
  /** Called with each chunk at once; what gets lost on the way is in `untaken`. */
  send(chunk: Chunk): void
}

/**
 * What one attempt streams, in order, kept until its reader has taken it.
 *
 * Invariants: seqs are 1, 2, 3 … without a gap; a chunk leaves only by `taken`; at most `untakenBytesMax` is kept. An app
 * that awaits `emit` is ahead of its reader by the window and one chunk.
 */
export class ChunkBuffer {
  readonly #options: ChunkBufferOptions
  readonly #untaken: Chunk[] = []
  #lastSeq = 0
  #bytes = 0
  #room: PromiseWithResolvers<void> | null = null
  #ended = false

  constructor(options: ChunkBufferOptions) {
    this.#options = options
    if (options.streams)
      options.signal.addEventListener("abort", () => this.#stop(), { once: true })
  }

  get streams(): boolean {
    return this.#options.streams
  }

  get untaken(): readonly Chunk[] {
    return this.#untaken
  }

  /** What is kept, as the link counts it. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Takes a chunk, JSON, and resolves when there is room for the next one; rejects with the signal's reason. Errors, thrown
   * at once, so that they also reach an app that does not await: `RangeError` for a chunk that is too large, or one
   * more than an app may be ahead of its reader.
   */
  emit(data: Uint8Array): Promise<void> {
    const { streams, signal } = this.#options
    if (!streams || this.#ended) return Promise.resolve()
    if (signal.aborted) return handled(Promise.reject(asError(signal.reason)))
    const { chunkBytesMax, untakenBytesMax } = runnerLimits
    if (data.byteLength > chunkBytesMax) {
      throw new RangeError(
        `A chunk of ${data.byteLength} bytes is larger than ${chunkBytesMax} bytes.`,
      )
    }
    if (this.#bytes + sizeOf(data) > untakenBytesMax) {
      throw new RangeError(
        `${this.#untaken.length} chunks wait for their reader: await context.emit(…) to wait for it.`,
      )
    }
    this.#lastSeq += 1
    this.#bytes += sizeOf(data)
    const chunk = { seq: this.#lastSeq, data }
    this.#untaken.push(chunk)
    this.#options.send(chunk)
    return this.#isFull ? handled(this.#untilRoom()) : Promise.resolve()
  }

  /** The reader has the chunks up to and including `seq`. */
  taken(seq: number): void {
    const left = this.#untaken.findIndex((chunk) => chunk.seq > seq)
    const gone = this.#untaken.splice(0, left === -1 ? this.#untaken.length : left)
    for (const { data } of gone) this.#bytes -= sizeOf(data)
    if (this.#isFull) return
    this.#room?.resolve()
    this.#room = null
  }

  /** Takes nothing more; what is untaken stays. */
  end(): void {
    this.#ended = true
    this.#room?.resolve()
    this.#room = null
  }

  get #isFull(): boolean {
    return this.#bytes > runnerLimits.chunkWindowBytes
  }

  #untilRoom(): Promise<void> {
    this.#room ??= Promise.withResolvers()
    return this.#room.promise
  }

  #stop(): void {
    this.#room?.reject(asError(this.#options.signal.reason))
    this.#room = null
  }
}

function sizeOf(data: Uint8Array): number {
  return data.byteLength + linkChunkOverheadBytes
}

/** An app need not await: a rejection that nobody hears would end the process. */
function handled(promise: Promise<void>): Promise<void> {
  promise.catch(() => {})
  return promise
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason })
}
