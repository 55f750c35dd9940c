/**
 * Time, as the parts see it that decide by it. The system's, or one that a simulation moves by hand.
 */
export interface Clock {
  /** Epoch milliseconds; never set back in a life. */
  now(): number
  /** Milliseconds since some moment; never set back. */
  monotonic(): number
  setTimeout(callback: () => void, ms: number): Timer
  setInterval(callback: () => void, ms: number): Timer
  /** After everything that is due now was done, what came in on the sockets included. */
  setImmediate(callback: () => void): void
  /** Of a timer or an interval; null: there is none. */
  clear(timer: Timer | null): void
}

export interface Timer {
  /** It alone does not keep the process alive. */
  unref(): unknown
}

/** Smaller steps are followed, as those of a clock that is being disciplined. */
const stepMsMin = 1_000

/**
 * The wall clock, but never set back: rows say when something is due, and one that was set back by an hour would hold
 * all of it for an hour. It goes on from where it was, ahead by as much as it was set back, until the wall clock has
 * caught up or this life ends. A step forward is taken: a machine that slept wants to know how long.
 */
export function forwardClock(wall: () => number, monotonic: () => number): () => number {
  let ahead = 0
  let lastWall = wall()
  let last = monotonic()
  return () => {
    const at = wall()
    const elapsed = monotonic() - last
    const back = lastWall + elapsed - at
    if (Math.abs(back) > stepMsMin) ahead = Math.max(0, ahead + Math.round(back))
    lastWall = at
    last += elapsed
    return at + ahead
  }
}

export const systemNow = forwardClock(Date.now, () => performance.now())

export const systemClock: Clock = {
  now: systemNow,
  monotonic: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  setInterval: (callback, ms) => setInterval(callback, ms),
  setImmediate: (callback) => void setImmediate(callback),
  clear: (timer) => {
    if (timer !== null) clearTimeout(timer as NodeJS.Timeout)
  },
}
