import { expect, test } from "vitest"
import { leaseId } from "./lease.ts"

test("leases sort by when they were made, whatever is random in them", () => {
  const times = [0, 1, 0xffff, 0x10000, 1_763_800_000_000, 1_763_800_000_001, 2 ** 47]
  const leases = times.map((now, index) => leaseId(now, "fedcba98"[index]!.repeat(32)))
  expect(leases.toSorted()).toEqual(leases)
})

test("a lease carries all that is random", () => {
  const random = "00112233445566778899aabbccddeeff"
  expect(leaseId(Date.now(), random)).toMatch(new RegExp(`^[0-9a-f]{12}${random}$`))
})
