const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/**
 * One Ctrl-C arrives several times within milliseconds: from the terminal, which signals its whole
 * group, from npm and from our launcher, which pass it on. Two by hand are further apart.
 */
const sameWithinMs = 250

export type Interrupt = (signal: NodeJS.Signals, count: number) => void

/**
 * Calls the listener with the count of each interrupt, 1 for the first, until the returned function is called.
 *
 * ```ts
 * const release = onInterrupt((_, count) => (count === 1 ? stop() : process.exit(130)))
 * ```
 */
export function onInterrupt(
  listener: Interrupt,
  now: () => number = () => performance.now(),
): () => void {
  const counted = countInterrupts(listener, now)
  for (const signal of signals) process.on(signal, counted)
  return () => {
    for (const signal of signals) process.off(signal, counted)
  }
}

export function countInterrupts(
  listener: Interrupt,
  now: () => number,
): (signal: NodeJS.Signals) => void {
  let count = 0
  let lastAt = -Infinity
  return (signal) => {
    const at = now()
    const same = at - lastAt < sameWithinMs
    lastAt = at
    if (same) return
    count += 1
    listener(signal, count)
  }
}
