import { expect, test } from "vitest"
import { leaseId, requestId } from "./ids.ts"

test("leases sort by when they were made, whatever is random in them", () => {
  const times = [0, 1, 0xffff, 0x10000, 1_763_800_000_000, 1_763_800_000_001, 2 ** 47]
  const leases = times.map((now, index) => leaseId(now, "fedcba98"[index]!.repeat(32)))
  expect(leases.toSorted()).toEqual(leases)
})

test("a lease carries all that is random", () => {
  const random = "00112233445566778899aabbccddeeff"
  expect(leaseId(Date.now(), random)).toMatch(new RegExp(`^[0-9a-f]{12}${random}$`))
})

const random = "0123456789abcdef0123456789abcdef"

test("ids sort by when they were made, whatever is random in them", () => {
  const times = [0, 1, 0xffff, 0x10000, 1_763_800_000_000, 1_763_800_000_001, 2 ** 47]
  const ids = times.map((now, index) => requestId(now, "fedcba98"[index]!.repeat(32)))
  expect(ids.toSorted()).toEqual(ids)
})

test("an id is a UUID of version 7, in its fields", () => {
  expect(requestId(0x0123456789ab, random)).toBe("01234567-89ab-7012-b456-789abcdef012")
})

test("the variant is 10 whatever is random, and keeps the two bits beside it", () => {
  const digits = "0123456789abcdef".split("").map((digit) => {
    return requestId(0, `000${digit}${"0".repeat(28)}`)[19]
  })
  expect(digits.join("")).toBe("89ab89ab89ab89ab")
})

test("ids of one moment differ in all that is random", () => {
  const zeros = requestId(7, "0".repeat(32))
  const ones = requestId(7, "f".repeat(32))
  expect(ones.split("-").slice(2)).toEqual(["7fff", "bfff", "ffffffffffff"])
  expect(zeros.split("-").slice(2)).toEqual(["7000", "8000", "000000000000"])
})
