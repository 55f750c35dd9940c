import type { BlobStore } from "../blob.ts"
import type { Clock } from "../clock.ts"
import type { Limits, Timing } from "../config.ts"
import type { Hints } from "../hints.ts"
import type { Store } from "../store.ts"

/** What the dispatcher is made of; `main.ts` brings it. */
export interface DispatcherParts {
  store: Store
  blobs: BlobStore
  hints: Hints
  timing: Timing
  limits: Limits
  /** See `leaseId`; 128 bits of it are random. */
  newLease: () => string
  /** A local runner process has linked. */
  onRunner: (pid: number) => void
  /** Ends a local runner process that is not heard from and whose session is over; nothing when it is not ours to end. */
  endRunner: (pid: number) => void
  log: (entry: Record<string, unknown>) => void
  /** The system's when there is none. */
  clock?: Clock
}
