import { describe, expect, it } from "vitest"
import { equalsSecret, hashSecret, matchesHash, readCredentials } from "./credentials.ts"

const format = "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."

describe("credentials", () => {
  it.each([
    ["Key a:b", { kind: "key", id: "a", secret: "b" }],
    ["key a:b", { kind: "key", id: "a", secret: "b" }],
    ["  Key   a:b:c ", { kind: "key", id: "a", secret: "b:c" }],
    ["Bearer a:b", { kind: "key", id: "a", secret: "b" }],
    ["Local cafe", { kind: "local", secret: "cafe" }],
    ["Bearer x", { kind: "malformed", detail: "bearer: unable to decode issuer" }],
    ["Bearer ", { kind: "malformed", detail: format }],
    ["Key a", { kind: "malformed", detail: format }],
    ["Key a:", { kind: "malformed", detail: format }],
    ["Key :b", { kind: "malformed", detail: format }],
    ["Key", { kind: "malformed", detail: format }],
    ["a:b", { kind: "malformed", detail: format }],
    ["Basic YTpi", { kind: "malformed", detail: format }],
    ["", { kind: "none" }],
    [undefined, { kind: "none" }],
  ])("%s", (authorization, credentials) => {
    expect(readCredentials(authorization)).toEqual(credentials)
  })

  it("a secret matches its own hash only, and nothing matches no hash", () => {
    expect(matchesHash("s", hashSecret("s"))).toBe(true)
    expect(matchesHash("t", hashSecret("s"))).toBe(false)
    expect(matchesHash("s", null)).toBe(false)
    expect(matchesHash("s", "")).toBe(false)
    expect(equalsSecret("s", "s")).toBe(true)
    expect(equalsSecret("s", "ss")).toBe(false)
  })
})
