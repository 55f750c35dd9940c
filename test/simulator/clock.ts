import type { Clock, Timer } from "../../packages/server/src/clock.ts"

/** 2023-11-14, so that epoch times look like epoch times. */
const epochMs = 1_700_000_000_000

interface Happening extends Timer {
  atMs: number
  /** Among those of the same time: the order in which they were asked for. */
  order: number
  process: ProcessClock
  everyMs: number | null
  run: () => void
  cleared: boolean
}

/** The time of the whole simulated world: what happens next, happens when it is asked to. A heap of happenings. */
export class SimulatedClock {
  readonly #heap: Happening[] = []
  #nowMs = 0
  #order = 0

  get nowMs(): number {
    return this.#nowMs
  }

  /** The time of a process that starts now. */
  process(): ProcessClock {
    return new ProcessClock(this)
  }

  add(process: ProcessClock, run: () => void, inMs: number, everyMs: number | null): Timer {
    const atMs = this.#nowMs + Math.max(0, inMs)
    const happening: Happening = {
      atMs,
      order: this.#order++,
      process,
      everyMs,
      run,
      cleared: false,
      unref: () => happening,
    }
    this.#push(happening)
    return happening
  }

  /** Lets the next thing happen, moving time to it. False when nothing is left. */
  next(): boolean {
    for (;;) {
      const happening = this.#pop()
      if (happening === null) return false
      const { process } = happening
      if (happening.cleared || process.ended) continue
      if (process.stoppedUntilMs > happening.atMs) {
        // With the order it had: a process that goes on finds everything as it came.
        happening.atMs = process.stoppedUntilMs
        this.#push(happening)
        continue
      }
      this.#nowMs = happening.atMs
      happening.run()
      if (happening.everyMs !== null && !happening.cleared) {
        happening.atMs = this.#nowMs + happening.everyMs
        happening.order = this.#order++
        this.#push(happening)
      }
      return true
    }
  }

  #push(happening: Happening): void {
    const heap = this.#heap
    let index = heap.push(happening) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(happening, heap[parent]!)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = happening
  }

  #pop(): Happening | null {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined) return null
    if (heap.length === 0) return top
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1
      if (!isBefore(heap[child]!, last)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
    return top
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** Time as one process sees it: it stands still while the process is stopped, and ends with it. */
export class ProcessClock implements Clock {
  readonly #world: SimulatedClock
  #ended = false
  #stoppedUntilMs = 0

  constructor(world: SimulatedClock) {
    this.#world = world
  }

  get ended(): boolean {
    return this.#ended
  }

  get stoppedUntilMs(): number {
    return this.#stoppedUntilMs
  }

  get isStopped(): boolean {
    return this.#stoppedUntilMs > this.#world.nowMs
  }

  /** `kill -9`: nothing of it happens any more. */
  end(): void {
    this.#ended = true
  }

  /** `SIGSTOP` now, `SIGCONT` later. */
  stop(forMs: number): void {
    this.#stoppedUntilMs = Math.max(this.#stoppedUntilMs, this.#world.nowMs + forMs)
  }

  now(): number {
    return epochMs + Math.floor(this.#world.nowMs)
  }

  monotonic(): number {
    return this.#world.nowMs
  }

  setTimeout(callback: () => void, ms: number): Timer {
    return this.#world.add(this, callback, ms, null)
  }

  setInterval(callback: () => void, ms: number): Timer {
    return this.#world.add(this, callback, ms, ms)
  }

  setImmediate(callback: () => void): void {
    this.#world.add(this, callback, 0, null)
  }

  clear(timer: Timer | null): void {
    if (timer !== null) (timer as Happening).cleared = true
  }
}
