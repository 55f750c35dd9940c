/** The persisted states of a request and what the wire calls them. */

export const requestStates = ["queued", "running", "succeeded", "failed", "cancelled"] as const
export type RequestState = (typeof requestStates)[number]

export type WireStatus = "IN_QUEUE" | "IN_PROGRESS" | "COMPLETED"

const wireStatuses: Record<RequestState, WireStatus> = {
  queued: "IN_QUEUE",
  running: "IN_PROGRESS",
  succeeded: "COMPLETED",
  failed: "COMPLETED",
  cancelled: "COMPLETED",
}

/** What the wire calls a state: success, failure and cancellation are all `COMPLETED`. */
export function toWireStatus(state: RequestState): WireStatus {
  return wireStatuses[state]
}

/** A terminal state is final: no transition leaves it. */
export function isTerminal(state: RequestState): boolean {
  return toWireStatus(state) === "COMPLETED"
}
