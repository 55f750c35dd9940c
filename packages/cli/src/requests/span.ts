/** A duration for people, in its two largest units: `340 ms`, `3.2 s`, `4 min 12 s`, `3 h 5 min`, `2 d 4 h`. */
export function formatSpan(ms: number): string {
  const span = Math.max(0, Math.round(ms))
  if (span < 1_000) return `${span} ms`
  if (span < 59_950) return `${(span / 1_000).toFixed(1)} s`
  const seconds = Math.round(span / 1_000)
  if (seconds < 3_600) return pair(seconds, 60, "min", "s")
  const minutes = Math.round(seconds / 60)
  if (minutes < 24 * 60) return pair(minutes, 60, "h", "min")
  return pair(Math.round(minutes / 60), 24, "d", "h")
}

/** Only the first unit of `formatSpan`: for a column. */
export function formatAge(ms: number): string {
  const span = formatSpan(Math.max(ms, 1_000))
  return span.replace(/\.\d/, "").split(" ").slice(0, 2).join(" ")
}

function pair(count: number, size: number, large: string, small: string): string {
  const rest = count % size
  return `${Math.floor(count / size)} ${large}${rest === 0 ? "" : ` ${rest} ${small}`}`
}
