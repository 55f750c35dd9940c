import { describe, expect, it } from "vitest"
import { rangeOf } from "./address-rule.ts"

describe("rangeOf", () => {
  it.each([
    ["8.8.8.8", "unicast"],
    ["2606:4700::1111", "unicast"],
    ["::ffff:8.8.8.8", "unicast"],
    ["::ffff:10.0.0.1", "private"],
    ["::127.0.0.1", "loopback"],
    ["64:ff9b::a00:1", "rfc6052"],
    ["2002:7f00:1::", "6to4"],
    ["fe80::1%eth0", "linkLocal"],
    ["4000::1", "unassigned"],
    ["0.0.0.0", "unspecified"],
    ["255.255.255.255", "broadcast"],
    ["192.0.0.8", "reserved"],
    ["nonsense", "invalid"],
  ])("of %s is %s", (address, range) => {
    expect(rangeOf(address)).toBe(range)
  })
})
