import { spreadOf } from "./statistics.ts"

/** What is promised of a figure. Where one is missed the report says by how much; the bound is not bent. */
export interface Verdict {
  figure: string
  target: string
  measured: string
  met: boolean
}

export interface Bound {
  figure: string
  /** `3.3 × BullMQ, appendfsync always`: how the bound came about. */
  of: string
  value: number
  measured: number
  unit: string
}

export function atLeast({ figure, of, value, measured, unit }: Bound): Verdict {
  return {
    figure,
    target: `≥ ${of} = ${format(value)} ${unit}`,
    measured: `${format(measured)} ${unit}${distance(measured, value)}`,
    met: measured >= value,
  }
}

export function atMost({ figure, of, value, measured, unit }: Bound): Verdict {
  return {
    figure,
    target: `≤ ${of} = ${format(value)} ${unit}`,
    measured: `${format(measured)} ${unit}${distance(measured, value)}`,
    met: measured <= value,
  }
}

function distance(measured: number, value: number): string {
  const percent = value === 0 ? 0 : Math.round((measured / value - 1) * 100)
  return ` (${percent >= 0 ? "+" : ""}${percent} %)`
}

/** Three digits that mean something: 5,060 · 12.4 · 0.491. */
export function format(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

/** Median of the rounds, and in brackets the least and the most. */
export function formatSpread(rounds: number[]): string {
  const { median, min, max } = spreadOf(rounds)
  return `${format(median)} (${format(min)}–${format(max)})`
}
