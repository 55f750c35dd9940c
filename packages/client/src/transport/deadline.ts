import { TimeoutError } from "../errors.ts"

export interface Limits {
  signal?: AbortSignal | undefined
  /** Null: as long as it takes. */
  timeoutMs?: number | null | undefined
}

/** Timers hold 31 bits; what is longer than that is for ever. */
const timerMsMax = 2_147_483_647

export interface LimitedSignal {
  signal: AbortSignal
  /** Lets go of the timer and of the caller's signal. */
  release: () => void
}

/** A signal that is aborted when the caller's is, and with a `TimeoutError` when the time is over. */
export function limitSignal({ signal, timeoutMs = null }: Limits): LimitedSignal {
  signal?.throwIfAborted()
  const ends = new AbortController()
  const onAbort = () => ends.abort(signal?.reason)
  signal?.addEventListener("abort", onAbort, { once: true })
  const timer =
    timeoutMs === null || timeoutMs > timerMsMax
      ? undefined
      : setTimeout(() => ends.abort(new TimeoutError(timeoutMs)), timeoutMs)
  const release = () => {
    clearTimeout(timer)
    signal?.removeEventListener("abort", onAbort)
  }
  return { signal: ends.signal, release }
}

/** Runs the work under such a signal. */
export async function withDeadline<T>(
  limits: Limits,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal, release } = limitSignal(limits)
  try {
    return await work(signal)
  } finally {
    release()
  }
}

/** Resolves after so long; rejects with the signal's reason when it is aborted before. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort)
      resolve()
    }, ms)
    signal.addEventListener("abort", onAbort, { once: true })
  })
}
