/** The ways in, and what each promises. */

export type Door = "queue" | "run" | "stream"

export type Priority = "normal" | "low"

export interface DoorPolicy {
  /** Attempts that may count before the request fails. */
  attemptsMax: number
  /** Does a request outlive the server that took it? */
  survivesRestart: boolean
  /** Does it wait its turn, or go to the head? */
  waitsItsTurn: boolean
  /** Is it cancelled when its caller goes away? */
  endsWithCaller: boolean
  /** Does its caller read along while the app works? */
  streams: boolean
}

const run: DoorPolicy = {
  attemptsMax: 1,
  survivesRestart: false,
  waitsItsTurn: false,
  endsWithCaller: true,
  streams: false,
}

export const doorPolicies: Record<Door, DoorPolicy> = {
  queue: {
    attemptsMax: 10,
    survivesRestart: true,
    waitsItsTurn: true,
    endsWithCaller: false,
    streams: false,
  },
  run,
  stream: { ...run, streams: true },
}
