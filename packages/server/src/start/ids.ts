import { randomFillSync } from "node:crypto"

/** Fetched together: a call of the system's generator for each id took 4 % of the main thread. */
const pooledBytes = 4096
const bytesAnId = 16

let pool = Buffer.alloc(0)
let taken = 0

/** 128 random bits, hex; each is given out once. */
function randomHex(): string {
  if (taken === pool.byteLength) {
    pool = randomFillSync(Buffer.allocUnsafe(pooledBytes))
    taken = 0
  }
  taken += bytesAnId
  return pool.toString("hex", taken - bytesAnId, taken)
}

export function newLease(): string {
  return leaseId(Date.now(), randomHex())
}

export function newRequestId(): string {
  return requestId(Date.now(), randomHex())
}

/**
 * The id of a new request: a UUID of version 7 (RFC 9562), which begins with the time, so that the store's index of ids grows at
 * its end; with a random one each submit was one page more to flush. `random`: 32 hex digits, of which 74 bits are used.
 *
 *     requestId(Date.now(), randomBytes(16).toString("hex"))
 */
export function requestId(now: number, random: string): string {
  const time = now.toString(16).padStart(12, "0")
  // The variant's two bits, 10, before two random ones.
  const variant = "89ab"[Number.parseInt(random.slice(3, 4), 16) & 3]
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(7, 19)}`
}
/**
 * The id of a new lease: when it was made, then `random`, hex, which makes it unguessable. In this order, as the store's index
 * of leases then grows at its end; at random places each would be one page more to flush.
 *
 *     leaseId(Date.now(), randomBytes(16).toString("hex"))
 */
export function leaseId(now: number, random: string): string {
  return now.toString(16).padStart(12, "0") + random
}
