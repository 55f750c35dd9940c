import { readFileSync } from "node:fs"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  endpointIdLengthMax,
  formatEndpointId,
  parseEndpointId,
  parseQueuePath,
} from "./endpoint-id.ts"
import { reservedSegments } from "./hosts.ts"

function readFixture(name: string): string {
  return readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8")
}

/** Facts of the hosted service's catalogue, by scripts/extract-owners.mjs. */
const ids: string[] = JSON.parse(readFixture("endpoint-ids.json"))
const facts: { idCount: number; owners: string[] } = JSON.parse(readFixture("owners.json"))

const segment = fc
  .stringMatching(/^[A-Za-z0-9_.-]{1,20}$/)
  .filter((text) => text !== "." && text !== "..")
const owner = segment.filter((text) => text !== "workflows" && text !== "comfy")
const endpoint = fc.record({
  namespace: fc.constantFrom(null, "workflows" as const, "comfy" as const),
  owner,
  alias: segment,
  path: fc
    .array(segment, { maxLength: 5 })
    .map((parts) => parts.map((part) => `/${part}`).join("")),
})
const uuid = fc.uuid({ version: 4 })

describe("endpoint ids", () => {
  test("a formatted id reads back as it was", () => {
    fc.assert(
      fc.property(endpoint, fc.boolean(), fc.boolean(), (parts, leading, trailing) => {
        const id = formatEndpointId(parts)
        const parsed = parseEndpointId(`${leading ? "/" : ""}${id}${trailing ? "/" : ""}`)
        expect(parsed).toMatchObject({ ...parts, id })
        expect(parsed!.app + parts.path).toBe(id)
      }),
    )
  })

  test("whatever is read is legal, short and stable", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc
        .array(fc.constantFrom("a", "/", "%2f", "%2e", "..", "%", "-", "1", "workflows/"), {
          maxLength: 12,
        })
        .map((parts) => parts.join("")),
    )
    fc.assert(
      fc.property(text, (path) => {
        const parsed = parseEndpointId(path)
        if (parsed === null) return
        expect(parsed.id).toMatch(/^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)+$/)
        expect(parsed.id.split("/")).not.toContain("..")
        expect(parseEndpointId(parsed.id)).toEqual(parsed)
      }),
      { numRuns: 2_000 },
    )
  })

  test.each([
    ["fal-ai/flux", null, "fal-ai", "flux", "", "fal-ai/flux"],
    ["/fal-ai/flux/dev/", null, "fal-ai", "flux", "/dev", "fal-ai/flux"],
    ["me/my-app--staging/x", null, "me", "my-app--staging", "/x", "me/my-app--staging"],
    ["workflows/me/flow", "workflows", "me", "flow", "", "workflows/me/flow"],
    ["workflows/me/flow/a/b", "workflows", "me", "flow", "/a/b", "workflows/me/flow"],
    ["comfy/me/graph/x", "comfy", "me", "graph", "/x", "comfy/me/graph"],
    ["123-my-alias", null, "123", "my-alias", "", "123/my-alias"],
    ["123-my-alias/x", null, "123-my-alias", "x", "", "123-my-alias/x"],
    ["fal-ai/wan/v2.2%2D5b", null, "fal-ai", "wan", "/v2.2-5b", "fal-ai/wan"],
  ])("%s is read", (id, namespace, idOwner, alias, path, app) => {
    expect(parseEndpointId(id)).toMatchObject({ namespace, owner: idOwner, alias, path, app })
  })

  test.each([
    "",
    "/",
    "//",
    "flux",
    "abc-flux",
    "123-my_alias",
    "workflows",
    "workflows/me",
    "comfy/me",
    "a//b",
    "//a/b",
    "a/b//",
    "a/./b",
    "a/../b",
    "a/%2e%2e/b",
    "a/b%2Fc",
    "a/b%252fc",
    "a%00/b",
    "a/b c",
    "a/é",
    "a/%zz",
    "a/b?c",
    `a/${"b".repeat(endpointIdLengthMax)}`,
    `a${"/b".repeat(40)}`,
  ])("%j is no id", (id) => {
    expect(parseEndpointId(id)).toBeNull()
  })

  test("every id of the hosted catalogue is read, and formats to itself", () => {
    expect(ids.length).toBe(facts.idCount)
    expect(ids.length).toBeGreaterThan(700)
    const parsed = ids.map((id) => parseEndpointId(id))
    expect(parsed.map((id) => id?.id)).toEqual(ids)
    expect(new Set(parsed.map((id) => id?.owner))).toEqual(new Set(facts.owners))
  })

  test("no reserved first segment is an owner of the hosted catalogue, a namespace or ours", () => {
    expect(facts.owners).toContain("fal-ai")
    const taken = new Set([...facts.owners, "workflows", "comfy", "tintype"])
    expect(reservedSegments.filter((reserved) => taken.has(reserved))).toEqual([])
  })
})

const id = "764cabcf-b745-4b3e-ae38-1200304cf45b"
const other = "11111111-2222-4333-8444-555555555555"

describe("paths of the queue", () => {
  test.each([
    ["GET", `/fal-ai/flux/requests/${id}`, "fal-ai/flux", "result"],
    ["GET", `/fal-ai/flux/requests/${id}/`, "fal-ai/flux", "result"],
    ["GET", `/fal-ai/flux/requests/${id}/response`, "fal-ai/flux", "result"],
    ["HEAD", `/fal-ai/flux/requests/${id}`, "fal-ai/flux", "result"],
    ["GET", `/fal-ai/flux/requests/${id}/status`, "fal-ai/flux", "status"],
    ["GET", `/fal-ai/flux/requests/${id}/status/`, "fal-ai/flux", "status"],
    ["GET", `/fal-ai/flux/requests/${id}/status/stream`, "fal-ai/flux", "stream"],
    ["PUT", `/fal-ai/flux/requests/${id}/cancel`, "fal-ai/flux", "cancel"],
    ["GET", `/fal-ai/flux/dev/requests/${id}/status`, "fal-ai/flux", "status"],
    ["GET", `/workflows/me/flow/x/requests/${id}`, "workflows/me/flow", "result"],
    ["GET", `/comfy/me/graph/requests/${id}`, "comfy/me/graph", "result"],
    ["GET", `/123-alias/requests/${id}`, "123/alias", "result"],
    ["GET", `/a/b/requests/${other}/requests/${id}`, "a/b", "result"],
    ["GET", `/a/b/requests/${other}/cancel/requests/${id}/status`, "a/b", "status"],
    ["GET", `/a/requests/requests/${id.toUpperCase()}`, "a/requests", "result"],
  ])("%s %s", (method, path, app, action) => {
    expect(parseQueuePath(method, path)).toEqual({ kind: "request", app, requestId: id, action })
  })

  test.each([
    "/fal-ai/flux/dev",
    "/fal-ai/maya/stream",
    "/fal-ai/flux/requests",
    "/fal-ai/flux/requests/latest/cancel",
  ])("POST %s is a submit", (path) => {
    expect(parseQueuePath("POST", path)).toEqual({
      kind: "submit",
      endpoint: parseEndpointId(path),
    })
  })

  test.each([
    ["GET", "/fal-ai/flux", ["POST"]],
    ["GET", "/fal-ai/maya/stream", ["POST"]],
    ["GET", `/fal-ai/flux/requests/${id}/cancel`, ["PUT"]],
    ["DELETE", `/fal-ai/flux/requests/${id}/cancel`, ["PUT"]],
    ["PUT", `/fal-ai/flux/requests/${id}`, ["GET", "HEAD"]],
    ["POST", `/fal-ai/flux/requests/${id}/cancel`, ["PUT"]],
    ["POST", `/fal-ai/flux/dev/requests/${id}`, ["GET", "HEAD"]],
    ["POST", `/fal-ai/flux/requests/${id}/status/stream`, ["GET", "HEAD"]],
    ["DELETE", `/fal-ai/flux/requests/${id}/status`, ["GET", "HEAD"]],
  ])("%s %s is the wrong method", (method, path, allow) => {
    expect(parseQueuePath(method, path)).toEqual({ kind: "wrong_method", allow })
  })

  test.each([
    ["PUT", "/fal-ai/flux/requests/not-a-uuid/cancel"],
    ["GET", "/fal-ai/flux/dev/requests/abc"],
    ["GET", "/fal-ai/flux/requests"],
    ["GET", `/fal-ai/flux/requests/${id}/status/stream/x`],
    ["GET", `/fal-ai/flux/requests/${id}/toString`],
  ])("%s %s is a request that cannot be", (method, path) => {
    expect(parseQueuePath(method, path)).toEqual({ kind: "no_request" })
  })

  test.each([
    ["POST", "/flux"],
    ["POST", ""],
    ["GET", "/"],
    ["GET", "/flux"],
    ["GET", `/fal-ai/../requests/${id}`],
    ["GET", `/fal-ai%2Fflux/requests/${id}`],
  ])("%s %s is neither an endpoint nor a request", (method, path) => {
    expect(parseQueuePath(method, path)).toBeNull()
  })

  test("a request is found behind any endpoint, a submit never is one", () => {
    fc.assert(
      fc.property(endpoint, uuid, (parts, requestId) => {
        const path = `/${formatEndpointId(parts)}/requests/${requestId}/status`
        const { app } = parseEndpointId(formatEndpointId(parts))!
        expect(parseQueuePath("GET", path)).toEqual({
          kind: "request",
          app,
          requestId,
          action: "status",
        })
        expect(parseQueuePath("POST", path)?.kind).toBe("wrong_method")
      }),
    )
  })
})
