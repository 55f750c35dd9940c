/**
 * The id of a new lease: when it was made, then `random`, hex, which makes it unguessable. In this order, as the store's index
 * of leases then grows at its end; at random places each would be one page more to flush.
 *
 *     leaseId(Date.now(), randomBytes(16).toString("hex"))
 */
export function leaseId(now: number, random: string): string {
  return now.toString(16).padStart(12, "0") + random
}
