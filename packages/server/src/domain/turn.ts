import { type Door, doorPolicies, type Priority } from "./door.ts"

/**
 * Order, fairness and position in one number. A queued request has an immutable `turn`; its app starts
 * requests in order of (turn, sequence). This is start-time fair queueing: an account that submits 100,000
 * requests spreads them over 100,000 turns, and another account's first one lands beside the head.
 */

/** How far a request pushes its account's next one: low goes at a quarter of normal's pace, and never starves. */
const weights: Record<Priority, number> = { normal: 1, low: 4 }

/** Runs are served before every queued turn, in order of arrival. */
export const headTurn = 0

export interface Lane {
  /** The largest turn of the app that was ever started. */
  clock: number
  /** The last turn given to this (account, priority) in the app; 0 when there is none. */
  last: number
}

/** The turn of a new request. */
export function nextTurn(door: Door, priority: Priority, lane: Lane): number {
  if (!doorPolicies[door].waitsItsTurn) return headTurn
  return Math.max(lane.clock, lane.last) + weights[priority]
}

/** The app's clock after a start: a run does not move it. */
export function clockAfterStart(clock: number, turn: number): number {
  return Math.max(clock, turn)
}

export interface Place {
  turn: number
  sequence: number
}

/** Negative when `a` starts before `b`. */
export function comparePlaces(a: Place, b: Place): number {
  return a.turn - b.turn || a.sequence - b.sequence
}
