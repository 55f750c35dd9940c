import { describe, expect, test } from "vitest"
import {
  accessTo,
  type Acl,
  expiryOf,
  isExpired,
  isPublic,
  LifecycleError,
  parseLifecycle,
  readAcl,
  settleLifecycle,
  withKnownUsers,
} from "./object-lifecycle.ts"

describe("a lifecycle is read from its header", () => {
  test.each([
    [undefined, null],
    ["", null],
    ["  ", null],
    ["{}", { acl: null }],
    ['{"expiration_duration_seconds": 1}', { expirationMs: 1_000, acl: null }],
    ['{"expiration_duration_seconds": 60}', { expirationMs: 60_000, acl: null }],
    ['{"expiration_duration_seconds": null}', { expirationMs: null, acl: null }],
    ['{"expiration_duration_seconds": 0}', { expirationMs: null, acl: null }],
    [
      '{"expiration_duration_seconds": 1e300}',
      { expirationMs: 100 * 365 * 24 * 3_600_000, acl: null },
    ],
    ['{"initial_acl": null, "of_a_newer_client": [1]}', { acl: null }],
    ['{"initial_acl": {"default": "hide"}}', { acl: { default: "hide", rules: [] } }],
    [
      '{"initial_acl": {"default": "forbid", "rules": [{"user": "ann", "decision": "allow"}]}}',
      { acl: { default: "forbid", rules: [{ user: "ann", decision: "allow" }] } },
    ],
  ])("%j", (header, lifecycle) => {
    expect(parseLifecycle(header)).toEqual(lifecycle)
  })

  test.each([
    ["1h", "it must be a JSON object"],
    ["[]", "it must be a JSON object"],
    ["null", "it must be a JSON object"],
    ['{"expiration_duration_seconds": "60"}', "expiration_duration_seconds must be a whole number"],
    ['{"expiration_duration_seconds": -1}', "expiration_duration_seconds must be a whole number"],
    ['{"expiration_duration_seconds": 1.5}', "expiration_duration_seconds must be a whole number"],
    ['{"initial_acl": "hide"}', "initial_acl must be an object"],
    ['{"initial_acl": {}}', "initial_acl.default must be allow, forbid, hide"],
    ['{"initial_acl": {"default": "deny"}}', "initial_acl.default must be allow, forbid, hide"],
    ['{"initial_acl": {"default": "hide", "rules": {}}}', "initial_acl.rules must be a list"],
    ['{"initial_acl": {"default": "hide", "rules": [1]}}', "initial_acl.rules.0.user must be"],
    [
      '{"initial_acl": {"default": "hide", "rules": [{"user": "", "decision": "allow"}]}}',
      "initial_acl.rules.0.user must be a text",
    ],
    [
      '{"initial_acl": {"default": "hide", "rules": [{"user": "ann"}]}}',
      "initial_acl.rules.0.decision must be allow, forbid, hide",
    ],
  ])("%s is refused", (header, message) => {
    expect(() => parseLifecycle(header)).toThrow(LifecycleError)
    expect(() => parseLifecycle(header)).toThrow(message)
  })
})

describe("what holds for a file", () => {
  const hidden: Acl = { default: "hide", rules: [] }
  const open: Acl = { default: "allow", rules: [] }
  const account = { expirationMs: 70, acl: hidden }
  const none = { expirationMs: null, acl: null }

  test("is what it says itself, else what its account says, else what the configuration does", () => {
    expect(settleLifecycle({ expirationMs: 7, acl: open }, account, 500)).toEqual({
      expirationMs: 7,
      acl: open,
    })
    expect(settleLifecycle({ expirationMs: null, acl: null }, account, 500)).toEqual({
      expirationMs: null,
      acl: hidden,
    })
    expect(settleLifecycle({ acl: null }, account, 500)).toEqual(account)
    expect(settleLifecycle(null, account, 500)).toEqual(account)
    expect(settleLifecycle(null, none, 500)).toEqual({ expirationMs: 500, acl: null })
    expect(settleLifecycle(null, none, 0)).toEqual(none)
  })

  test("ends at its time", () => {
    expect(expiryOf({ expirationMs: null, acl: null }, 1_000)).toBeNull()
    expect(expiryOf({ expirationMs: 7, acl: null }, 1_000)).toBe(1_007)
    expect(isExpired({ expiresAt: null }, 1e15)).toBe(false)
    expect(isExpired({ expiresAt: 1_500 }, 1_499)).toBe(false)
    expect(isExpired({ expiresAt: 1_500 }, 1_500)).toBe(true)
  })
})

describe("an access list", () => {
  const acl: Acl = {
    default: "forbid",
    rules: [
      { user: "ann", decision: "hide" },
      { user: "ann", decision: "allow" },
      { user: "bob", decision: "hide" },
    ],
  }
  const file = { account: "owner", acl }

  test("decides by the rules for a user, the most permissive first, else by its default", () => {
    expect(accessTo(file, "ann")).toBe("allow")
    expect(accessTo(file, "bob")).toBe("hide")
    expect(accessTo(file, "-")).toBe("forbid")
  })

  test("never keeps out the owner, and nobody when there is none", () => {
    const own = { default: "hide", rules: [{ user: "owner", decision: "hide" }] } as const
    expect(accessTo({ account: "owner", acl: { ...own, rules: [...own.rules] } }, "owner")).toBe(
      "allow",
    )
    expect(accessTo({ account: "owner", acl: null }, "-")).toBe("allow")
  })

  test("is public when it keeps out nobody", () => {
    expect(isPublic({ acl: null })).toBe(true)
    expect(isPublic({ acl: { default: "allow", rules: [] } })).toBe(true)
    expect(isPublic({ acl })).toBe(false)
    const allowed = { user: "ann", decision: "allow" as const }
    const forbidden = { user: "bob", decision: "forbid" as const }
    expect(isPublic({ acl: { default: "allow", rules: [allowed] } })).toBe(true)
    expect(isPublic({ acl: { default: "allow", rules: [allowed, forbidden] } })).toBe(false)
  })

  test("is read from an object, and refused by the name of its place", () => {
    expect(readAcl({ default: "hide" }, "acl")).toEqual({ default: "hide", rules: [] })
    expect(() => readAcl([], "acl")).toThrow(new LifecycleError("acl must be an object"))
    expect(() => readAcl({ default: "no" }, "acl")).toThrow("acl.default must be allow")
  })

  test("loses the rules for users that there are none of", () => {
    expect(withKnownUsers(null, () => true)).toBeNull()
    expect(withKnownUsers(acl, (user) => user === "bob")).toEqual({
      default: "forbid",
      rules: [{ user: "bob", decision: "hide" }],
    })
  })
})
