import { type ChunkFrame, linkChunkOverheadBytes, linkUntakenBytesMax } from "@tintype/protocol"
import type { ChunkReader, Relay } from "../../snapshots.ts"

/** An attempt whose caller may read along. */
interface Source {
  requestId: string
  /** The newest chunk that came, and the newest that was taken. */
  lastSeq: number
  takenSeq: number
}

type Waiting = Pick<ChunkFrame, "lease" | "seq" | "data">

export interface ChunkRelayOptions {
  /** The attempt may say more. */
  onTaken(lease: string, seq: number): void
}

/**
 * Hands the chunks of running attempts to those who read them. It owns what came and was not taken yet: at most
 * `linkUntakenBytesMax` of an attempt, which the runner keeps as well, until it is told so. Invariants: each chunk is given once, in order,
 * whatever the link says again; an attempt that nobody reads is never held up.
 */
export class ChunkRelay implements Relay {
  readonly #options: ChunkRelayOptions
  readonly #sources = new Map<string, Source>()
  readonly #readers = new Map<string, Reader>()

  constructor(options: ChunkRelayOptions) {
    this.#options = options
  }

  open(lease: string, requestId: string): void {
    if (!this.#sources.has(lease)) this.#sources.set(lease, { requestId, lastSeq: 0, takenSeq: 0 })
  }

  /** Nothing more comes; what came can still be read. */
  close(lease: string): void {
    this.#sources.delete(lease)
  }

  /** Returns why it is a protocol error, or null. */
  add({ lease, seq, data }: ChunkFrame): string | null {
    const source = this.#sources.get(lease)
    if (source === undefined) return null
    if (seq <= source.lastSeq) {
      // Said again over a new link; the word that it was taken may have been lost with the old one.
      if (seq <= source.takenSeq) this.#options.onTaken(lease, source.takenSeq)
      return null
    }
    if (seq !== source.lastSeq + 1) return "chunk out of order"
    const reader = this.#readers.get(source.requestId)
    if (reader?.add({ lease, seq, data }) === false) return "more chunks than were taken"
    source.lastSeq = seq
    if (reader === undefined) this.#take({ lease, seq })
    return null
  }

  read(requestId: string, onChunk: () => void): ChunkReader {
    const before = this.#readers.get(requestId)
    const reader: Reader = new Reader(before?.release() ?? [], {
      onChunk,
      onTaken: (chunk) => this.#take(chunk),
      onClose: () => {
        if (this.#readers.get(requestId) === reader) this.#readers.delete(requestId)
      },
    })
    this.#readers.set(requestId, reader)
    return reader
  }

  #take({ lease, seq }: Pick<Waiting, "lease" | "seq">): void {
    const source = this.#sources.get(lease)
    if (source === undefined) return
    source.takenSeq = seq
    this.#options.onTaken(lease, seq)
  }
}

interface ReaderOptions {
  onChunk(): void
  onTaken(chunk: Waiting): void
  onClose(): void
}

/** What came for one caller. It keeps what was given and not taken, so that nobody else is given it twice. */
class Reader implements ChunkReader {
  readonly #options: ReaderOptions
  #waiting: Waiting[]
  #given: Waiting | null = null
  #bytes = 0

  constructor(waiting: Waiting[], options: ReaderOptions) {
    this.#waiting = waiting
    this.#options = options
    for (const chunk of waiting) this.#bytes += sizeOf(chunk)
  }

  /** False: there would be more than a runner may say. */
  add(chunk: Waiting): boolean {
    if (this.#bytes + sizeOf(chunk) > linkUntakenBytesMax) return false
    this.#bytes += sizeOf(chunk)
    this.#waiting.push(chunk)
    this.#options.onChunk()
    return true
  }

  next(): Uint8Array | null {
    const chunk = this.#waiting.shift()
    if (chunk === undefined) return null
    this.taken()
    this.#given = chunk
    return chunk.data
  }

  taken(): void {
    const chunk = this.#given
    if (chunk === null) return
    this.#given = null
    this.#bytes -= sizeOf(chunk)
    this.#options.onTaken(chunk)
  }

  /** Gives what waits to whoever reads next. */
  release(): Waiting[] {
    this.taken()
    const waiting = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    return waiting
  }

  close(): void {
    this.taken()
    const last = this.#waiting.at(-1)
    if (last !== undefined) this.#options.onTaken(last)
    this.#waiting = []
    this.#options.onClose()
  }
}

function sizeOf({ data }: Waiting): number {
  return data.byteLength + linkChunkOverheadBytes
}
