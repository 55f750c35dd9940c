/**
 * Time, as the parts see it that decide by it. The system's, or one that a simulation moves by hand.
 */
export interface Clock {
  /** Epoch milliseconds. */
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

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  setInterval: (callback, ms) => setInterval(callback, ms),
  setImmediate: (callback) => void setImmediate(callback),
  clear: (timer) => {
    if (timer !== null) clearTimeout(timer as NodeJS.Timeout)
  },
}
