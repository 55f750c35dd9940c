import type { Output } from "../terminal.ts"
import { printable } from "../terminal.ts"
import type { Progress, StatusUpdate } from "./wire-reading.ts"

const barWidth = 28
const redrawEveryMs = 50

/** Shows how a request goes. Nothing is kept beyond the last line drawn. */
export interface ProgressView {
  update(update: StatusUpdate): void
  note(line: string): void
  /** Takes away what is drawn over; nothing is shown afterwards. */
  end(): void
}

/** The view that fits: drawn over on a terminal, plain lines in a pipe or a log, nothing when quiet. */
export function createProgressView(output: Output, quiet: boolean): ProgressView {
  if (quiet) return { update() {}, note() {}, end() {} }
  return output.isTTY === true ? new DrawnView(output) : new PlainView(output)
}

/** One line for each thing that changed. */
class PlainView implements ProgressView {
  readonly #output: Output
  #last = ""

  constructor(output: Output) {
    this.#output = output
  }

  update(update: StatusUpdate): void {
    const line = describeStatus(update)
    if (line !== "" && line !== this.#last) this.note(line)
    this.#last = line
    for (const message of update.logs) this.note(printable(message))
  }

  note(line: string): void {
    this.#output.write(`${line}\n`)
  }

  end(): void {}
}

/** Log lines scroll, below them one line is drawn over: the position, then the bar. */
class DrawnView implements ProgressView {
  readonly #output: Output
  #line = ""
  #drawnAt = 0
  #progress: Progress | null = null

  constructor(output: Output) {
    this.#output = output
  }

  update(update: StatusUpdate): void {
    for (const message of update.logs) {
      const progress = readStep(message)
      this.#progress = progress ?? this.#progress
      // The bar says it better than "step 5/28" five times over.
      if (progress === null) this.note(printable(message))
    }
    this.#progress = update.progress ?? this.#progress
    const running = update.status === "IN_PROGRESS" && this.#progress !== null
    if (update.status === "IN_QUEUE") this.#progress = null
    this.#draw(running ? drawBar(this.#progress!) : describeStatus(update))
  }

  note(line: string): void {
    this.#output.write(`${clearLine}${line}\n${this.#line}`)
  }

  end(): void {
    if (this.#line !== "") this.#output.write(clearLine)
    this.#line = ""
  }

  #draw(text: string): void {
    const line = text.slice(0, columnsOf(this.#output) - 1)
    if (line === this.#line || Date.now() - this.#drawnAt < redrawEveryMs) return
    this.#drawnAt = Date.now()
    this.#line = line
    this.#output.write(`${clearLine}${line}`)
  }
}

/** Some terminals say that they have no columns at all. */
function columnsOf({ columns }: Output): number {
  return columns === undefined || columns < 20 ? 80 : columns
}

const clearLine = "\r\u001b[2K"

/** What a log line such as `step 5/28` says; null for any other. */
export function readStep(message: string): Progress | null {
  const match = /\bstep (\d{1,6})\s*\/\s*(\d{1,6})\b/i.exec(message)
  if (match === null) return null
  const [step, steps] = [Number(match[1]), Number(match[2])]
  return steps > 0 && step <= steps ? { step, steps } : null
}

export function drawBar({ step, steps }: Progress): string {
  const share = steps > 0 ? Math.min(1, Math.max(0, step / steps)) : 0
  const filled = Math.round(share * barWidth)
  const bar = "█".repeat(filled) + "░".repeat(barWidth - filled)
  return `${bar} ${String(Math.round(share * 100)).padStart(3)} %  step ${step}/${steps}`
}

export function describeStatus({ status, position }: StatusUpdate): string {
  if (status === "IN_PROGRESS") return "Running"
  if (status === "COMPLETED") return ""
  if (position === null || position === 0) return "Queued, next in line"
  return `Queued, ${position} ahead`
}
