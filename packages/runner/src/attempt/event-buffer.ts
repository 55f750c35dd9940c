import type { AttemptEvent, LogLevel } from "@tintype/protocol"
import { runnerLimits } from "../limits.ts"

/** An event without what the buffer gives it: its place and its time. */
type Draft = AttemptEvent extends infer Event
  ? Event extends AttemptEvent
    ? Omit<Event, "seq" | "at">
    : never
  : never

export interface EventBufferOptions {
  /** What the request's log has room for: log lines of this attempt, together; beyond it one mark, then nothing. */
  logBytesMax: number
  /** Epoch milliseconds. */
  now(): number
  /** Called with each event at once; what gets lost on the way is in `unstored`. */
  send(event: AttemptEvent): void
}

/** A frame's fixed part, generously: keys, lease, numbers. */
const eventOverheadBytes = 128

/**
 * What one attempt says, in order, kept until the gateway has stored it.
 *
 * Invariants: seqs are 1, 2, 3 … without a gap; an event that got a seq leaves only by `stored`; at most
 * `eventBufferBytesMax` is kept, not counting marks. An event that finds no place gets no seq; a mark says how many
 * there were, before the next event that finds one or at the end.
 */
export class EventBuffer {
  readonly #options: EventBufferOptions
  readonly #unstored: { event: AttemptEvent; bytes: number }[] = []
  #nextSeq = 1
  #bytes = 0
  #logBytes = 0
  #logCut = false
  #dropped = 0
  #ended = false

  constructor(options: EventBufferOptions) {
    this.#options = options
  }

  /** The seq that the next event will have. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  get unstored(): AttemptEvent[] {
    return this.#unstored.map((kept) => kept.event)
  }

  log(level: LogLevel, message: string, labels?: Record<string, string>): void {
    if (this.#ended || this.#logCut) return
    const line = cutLine(message)
    const withLabels = labels !== undefined && labelBytes(labels) <= runnerLimits.labelBytesMax
    const bytes = Buffer.byteLength(line) + (withLabels ? labelBytes(labels) : 0)
    if (this.#logBytes + bytes > this.#options.logBytesMax) {
      this.#logCut = true
      this.#mark("The log is cut here: the request has logged all that it may.")
      return
    }
    const draft: Draft = { kind: "log", level, message: line }
    if (this.#add(withLabels ? { ...draft, labels } : draft, bytes)) {
      this.#logBytes += bytes
    }
  }

  /** Errors: `RangeError` for what is not a finite number of at least 0. */
  progress(step: number, steps: number): void {
    if (!(step >= 0 && steps >= 0 && Number.isFinite(step + steps))) {
      throw new RangeError(`Progress ${step} of ${steps} is not a progress.`)
    }
    if (!this.#ended) this.#add({ kind: "progress", step, steps }, 0)
  }

  /** Forgets the events up to and including `seq`. */
  stored(seq: number): void {
    let count = 0
    for (const { event, bytes } of this.#unstored) {
      if (event.seq > seq) break
      this.#bytes -= bytes
      count += 1
    }
    this.#unstored.splice(0, count)
  }

  /** Says what was dropped, if anything was, and takes nothing more. */
  end(): void {
    if (!this.#ended) this.#markDropped()
    this.#ended = true
  }

  #add(draft: Draft, payloadBytes: number): boolean {
    const bytes = payloadBytes + eventOverheadBytes
    if (this.#bytes + bytes > runnerLimits.eventBufferBytesMax) {
      this.#dropped += 1
      return false
    }
    this.#markDropped()
    this.#append(draft, bytes)
    return true
  }

  #markDropped(): void {
    if (this.#dropped === 0) return
    const count = this.#dropped
    this.#dropped = 0
    this.#mark(`${count} events were dropped here: they came faster than they could be stored.`)
  }

  #mark(message: string): void {
    this.#append({ kind: "log", level: "WARN", message }, eventOverheadBytes + message.length)
  }

  #append(draft: Draft, bytes: number): void {
    const event = { ...draft, seq: this.#nextSeq, at: this.#options.now() }
    this.#nextSeq += 1
    this.#bytes += bytes
    this.#unstored.push({ event, bytes })
    this.#options.send(event)
  }
}

function cutLine(message: string): string {
  const bytesMax = runnerLimits.logLineBytesMax
  if (Buffer.byteLength(message) <= bytesMax) return message
  // A character that the cut would split is left out: decoding in stream mode holds back its first bytes.
  const head = Buffer.from(message.slice(0, bytesMax)).subarray(0, bytesMax)
  return `${new TextDecoder().decode(head, { stream: true })} … (cut)`
}

function labelBytes(labels: Record<string, string>): number {
  return Object.entries(labels).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  )
}
