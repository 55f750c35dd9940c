import { setImmediate } from "node:timers/promises"
import type { RunContext } from "@tintype/app"
import type {
  AssignFrame,
  AttemptEvent,
  CancelReason,
  DoneFrame,
  FailedFrame,
  FailureReason,
  HeldAttempt,
  LogLevel,
} from "@tintype/protocol"
import type { AppAnswer, HostedApp } from "./app-host.ts"
import { type Chunk, ChunkBuffer } from "./chunk-buffer.ts"
import { type ConsoleReceiver, printingTo } from "./console-capture.ts"
import { EventBuffer } from "./event-buffer.ts"
import { type RunnerTiming, runnerLimits } from "../limits.ts"
import { type Transfer, TransferError, type TransferOptions } from "../link/transfer.ts"

export type AttemptState = "assigned" | "running" | "outcome" | "forgotten"

/** The last word on an attempt. `body` is set when it has to be transferred before the frame is sent. */
export interface AttemptOutcome {
  frame: DoneFrame | FailedFrame
  body: Uint8Array | null
}

export interface AttemptParts {
  timing: Pick<RunnerTiming, "graceMs">
  /** Epoch milliseconds. */
  now: () => number
  sendEvent: (event: AttemptEvent) => void
  sendChunk: (chunk: Chunk) => void
  /** Called once, when there is an outcome. */
  onOutcome(): void
  /** The app goes on although its signal was aborted and its grace is over. */
  onStuck(): void
  createTransfer(options: Pick<TransferOptions, "lease" | "signal" | "onLeaseLost">): Transfer
  createContext(attempt: Attempt): RunContext
}

/**
 * One execution of a request.
 *
 *     assigned ──run──▶ running ──answer, exception, grace over──▶ outcome ──forget──▶ forgotten
 *         └───────────abort──────────────────────────────────────────▲
 *
 * `forget` ends any state: the outcome was settled, or the gateway or the orphan limit gave the attempt up. It owns its
 * events, its chunks and its outcome until then. Invariant: the first outcome stays, except that one whose body the
 * gateway refuses becomes a failure; no event and no chunk follows the outcome.
 *
 * The signal is aborted by a cancel and after `timeoutMs`; what the app answers within `graceMs` of that still counts. An
 * app in this process cannot be killed: one that ignores its signal loses its outcome then, `onStuck` tells that only the
 * end of the process will end it, and `run` still resolves only when it has really ended.
 */
export class Attempt implements ConsoleReceiver {
  readonly assign: AssignFrame
  readonly events: EventBuffer
  readonly chunks: ChunkBuffer
  readonly transfer: Transfer
  readonly #parts: AttemptParts
  readonly #controller = new AbortController()
  /** Aborted by `forget` alone: a cancel does not stop an outcome that is on its way. */
  readonly #kept = new AbortController()
  #state: AttemptState = "assigned"
  #outcome: AttemptOutcome | null = null
  #grace: NodeJS.Timeout | null = null
  #limit: NodeJS.Timeout | null = null
  #timedOut = false
  #ended = false
  #workStartedAt: number | null = null
  #sending: AbortController | null = null
  /** Headers that the app set beside those of its answer. */
  readonly answerHeaders: Record<string, string> = {}

  constructor(assign: AssignFrame, parts: AttemptParts) {
    this.assign = assign
    this.#parts = parts
    const { lease, logBytesMax, streams } = assign
    this.events = new EventBuffer({ logBytesMax, now: parts.now, send: parts.sendEvent })
    this.chunks = new ChunkBuffer({ streams, signal: this.signal, send: parts.sendChunk })
    const onLeaseLost = () => this.#abort("The lease is not held any more.")
    this.transfer = parts.createTransfer({ lease, signal: this.signal, onLeaseLost })
  }

  get lease(): string {
    return this.assign.lease
  }

  get state(): AttemptState {
    return this.#state
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get outcome(): AttemptOutcome | null {
    return this.#outcome
  }

  get held(): HeldAttempt {
    return {
      lease: this.lease,
      attempt: this.assign.attempt,
      nextSeq: this.events.nextSeq,
    }
  }

  /** Executes the app; resolves when it has ended, however late, and never rejects. */
  async run(app: HostedApp | undefined): Promise<void> {
    if (this.#state !== "assigned") return
    this.#state = "running"
    this.#limit = setTimeout(() => this.#timeOut(), Math.min(this.assign.timeoutMs, timerMsMax))
    try {
      if (app === undefined) {
        this.#fail("unknown_app", `This runner does not host ${this.assign.app}.`)
      } else {
        this.#answer(await this.#work(app))
      }
    } catch (error) {
      this.#failWith(error)
    } finally {
      this.#ended = true
      clearTimeout(this.#limit)
      if (this.#grace !== null) clearTimeout(this.#grace)
    }
  }

  /** The gateway wants it to stop. Without meaning once there is an outcome. */
  cancel(reason: CancelReason): void {
    if (this.#outcome === null) this.#abort(`The request was ended: ${reason}.`)
  }

  /** Stops everything that is left of it; nobody wants to know any more. */
  forget(): void {
    const runs = this.#workStartedAt !== null && !this.#ended
    this.#state = "forgotten"
    this.events.end()
    this.chunks.end()
    if (this.#limit !== null) clearTimeout(this.#limit)
    if (this.#grace === null && runs) this.#startGrace()
    this.#controller.abort(givenUp)
    this.#kept.abort(givenUp)
  }

  print(level: LogLevel, text: string): boolean {
    if (this.#state !== "running") return false
    this.events.log(level, text)
    return true
  }

  /**
   * Puts the outcome's body, if it has one to put, then calls `send` with its frame. A later call takes the place
   * of one under way: a gateway that has restarted in between does not know the body of before.
   */
  async deliver(send: (frame: DoneFrame | FailedFrame) => void): Promise<void> {
    this.#sending?.abort(givenUp)
    this.#sending = null
    const outcome = this.#outcome
    if (outcome === null) return
    const { frame, body } = outcome
    if (body === null) return send(frame)
    const { lease } = this
    const sending = (this.#sending = new AbortController())
    const signal = AbortSignal.any([sending.signal, this.#kept.signal])
    try {
      const transfer = this.#parts.createTransfer({ lease, signal, onLeaseLost: () => {} })
      await transfer.putOutput(body)
    } catch (error) {
      if (signal.aborted) return
      this.#outcome = { frame: this.#outputFailure(error), body: null }
    }
    if (!signal.aborted) send(this.#outcome!.frame)
  }

  async #work(app: HostedApp): Promise<AppAnswer> {
    const { input, inputBytes, path } = this.assign
    const bytes = input ?? (await this.transfer.input(inputBytes))
    // An app that blocks this thread from its first line on must not hold back that it was begun.
    await setImmediate()
    this.signal.throwIfAborted()
    this.#workStartedAt = performance.now()
    const context = this.#parts.createContext(this)
    return await printingTo(this, () => app.respond({ path, input: bytes }, context))
  }

  #answer({ status, headers: own, body }: AppAnswer): void {
    const headers = { ...own, ...this.answerHeaders }
    const problem = findProblem(status, headers)
    if (problem !== null) {
      this.#fail("incomplete_response", problem)
      return
    }
    const { lease, inferenceMs } = this
    const inline = body.byteLength <= runnerLimits.inlineAnswerBytesMax
    const frame = { type: "done", lease, status, headers, inferenceMs } as const
    this.#conclude({ frame: { ...frame, body: inline ? body : null }, body: inline ? null : body })
  }

  /** How long the app has worked so far, in milliseconds. */
  get inferenceMs(): number {
    return this.#workStartedAt === null ? 0 : Math.max(0, performance.now() - this.#workStartedAt)
  }

  #failWith(error: unknown): void {
    if (this.signal.aborted) {
      this.#fail(this.#abortReason, "The attempt was aborted.")
      return
    }
    // Callers get the generic text; whoever may read the request's log may read its stack.
    this.events.log("ERROR", describe(error))
    this.#fail("exception", "The app ended with an exception.")
  }

  #fail(reason: FailureReason, detail: string): void {
    this.#conclude({ frame: this.#failure(reason, detail), body: null })
  }

  #failure(reason: FailureReason, detail: string): FailedFrame {
    const cut = detail.slice(0, runnerLimits.detailCharactersMax)
    const { lease, inferenceMs } = this
    return { type: "failed", lease, reason, detail: cut, inferenceMs }
  }

  #outputFailure(error: unknown): FailedFrame {
    const code = error instanceof TransferError ? error.code : "refused"
    if (code === "lease_lost") return this.#failure("aborted", "The lease is not held any more.")
    if (code === "too_large") {
      return this.#failure("incomplete_response", "The answer is larger than the gateway takes.")
    }
    return this.#failure("incomplete_response", "The answer could not be stored.")
  }

  #conclude(outcome: AttemptOutcome): void {
    if (this.#outcome !== null || this.#state === "forgotten") return
    this.events.end()
    this.chunks.end()
    this.#outcome = outcome
    this.#state = "outcome"
    this.#parts.onOutcome()
  }

  #abort(why: string): void {
    if (this.signal.aborted) return
    this.#controller.abort(new DOMException(why, "AbortError"))
    if (this.#state === "assigned") {
      this.#fail("aborted", "The attempt was aborted before it started.")
    } else if (this.#state === "running") {
      this.#startGrace()
    }
  }

  #timeOut(): void {
    if (this.signal.aborted || this.#state !== "running") return
    this.#timedOut = true
    this.#abort(`The attempt took longer than ${this.assign.timeoutMs / 1_000} s.`)
  }

  get #abortReason(): FailureReason {
    return this.#timedOut ? "timed_out" : "aborted"
  }

  #startGrace(): void {
    this.#grace = setTimeout(() => {
      if (this.#ended) return
      this.#fail(this.#abortReason, "The app did not stop when it was asked to.")
      this.#parts.onStuck()
    }, this.#parts.timing.graceMs)
    this.#grace.unref()
  }
}

/** One for all attempts: making one, with its stack, took a fifth of the runner's time. */
const givenUp = new DOMException("The attempt was given up.", "AbortError")

/** The longest that a timer of Node's can wait. */
const timerMsMax = 2 ** 31 - 1

/** Why an answer cannot be sent; null when it can. */
function findProblem(status: number, headers: Record<string, string>): string | null {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    return `The app answered with status ${status}.`
  }
  let bytes = 0
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== "string") return `The app's header ${name} is not a text.`
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + 4
  }
  const bytesMax = runnerLimits.answerHeaderBytesMax
  return bytes > bytesMax ? `The app's headers are larger than ${bytesMax} bytes.` : null
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return `The app threw ${String(error)}`
  return error.stack ?? `${error.name}: ${error.message}`
}
