import { ApiError, TransportError } from "../errors.ts"
import type { RetryOptions } from "../settings.ts"

/** What a call may be sent again for. */
export interface Repeatable {
  /**
   * `always`: it changes nothing, or the server knows it again. `refused`: only when the server has not taken it, for its answer
   * may be lost while its work is done.
   */
  when: "always" | "refused"
}

/** How long to wait before try `next` (2, 3, …) of a call that has failed so; null: it has failed. */
export function delayBefore(
  next: number,
  failure: unknown,
  { when }: Repeatable,
  { triesMax, delayMs, delayMaxMs }: Required<RetryOptions>,
  random: () => number = Math.random,
): number | null {
  if (next > triesMax || !mayRepeat(failure, when)) return null
  const backoff = Math.min(delayMs * 2 ** (next - 2), delayMaxMs) * (0.75 + random() / 2)
  const asked = failure instanceof ApiError ? failure.retryAfterMs : null
  // Sooner than it is told to would be in vain, and later than anyone waits is a failure.
  if (asked === null) return backoff
  return asked > delayMaxMs ? null : Math.max(asked, backoff)
}

function mayRepeat(failure: unknown, when: Repeatable["when"]): boolean {
  if (failure instanceof TransportError) return when === "always"
  if (!(failure instanceof ApiError) || !failure.retryable) return false
  return when === "always" || failure.status === 429
}
