/** What the filling programs and the rows agree on: an app, and what is answered on the last line of the output. */

/** Nobody hosts it, so its requests stay queued. */
export const parkedApp = "bench/parked"

export interface OperationFigures {
  p50Ms: number
  p99Ms: number
}

export type StoreOperation = "submit" | "position" | "status" | "claim"

export interface DepthFigures {
  /** Some of those queued. */
  ids: string[]
  operations: Record<StoreOperation, OperationFigures>
}
