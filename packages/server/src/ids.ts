import { randomFillSync } from "node:crypto"
import { leaseId, requestId } from "./domain/ids.ts"

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
