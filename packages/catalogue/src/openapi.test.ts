import { readdirSync, readFileSync } from "node:fs"
import { openapiFor } from "@tintype/app"
import { describe, expect, test } from "vitest"
import { z } from "zod"
import { builtinApps } from "./index.ts"

const folder = new URL("../fixtures/facts/", import.meta.url)
const Schemas = z.record(z.string(), z.record(z.string(), z.unknown()))
const Facts = z.object({
  endpoint: z.string(),
  source: z.string(),
  category: z.string(),
  schemas: Schemas,
})

/** What facts never hold, and what hand-written facts leave out. */
const prose = new Set(["description", "examples", "limit_description", "x-fal", "ui"])
const presentation = new Set(["title", "x-fal-order-properties"])

function withoutProse(value: unknown, left: ReadonlySet<string>, isMap = false): unknown {
  if (Array.isArray(value)) return value.map((one) => withoutProse(one, left))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => isMap || !left.has(key))
      .map(([key, one]) => [
        key,
        key === "required" && Array.isArray(one)
          ? new Set(one)
          : withoutProse(one, left, key === "properties" && !isMap),
      ]),
  )
}

function documentOf(endpoint: string) {
  for (const app of builtinApps) {
    for (const path of app.endpoints.keys()) {
      const id = path === "/" ? app.id : app.id + path
      if (id === endpoint) return openapiFor(app, path)
    }
  }
  throw new Error(`no built-in app serves ${endpoint}`)
}

const facts = readdirSync(folder).map((name) =>
  Facts.parse(JSON.parse(readFileSync(new URL(name, folder), "utf8"))),
)

test("The facts cover every endpoint of the image families [flux, fast-sdxl]", () => {
  const served = builtinApps
    .filter((app) => app.id.startsWith("fal-ai/"))
    .flatMap((app) =>
      [...app.endpoints.keys()].map((path) => (path === "/" ? app.id : app.id + path)),
    )
  expect(facts.map((fact) => fact.endpoint).toSorted()).toEqual(served.toSorted())
})

describe.each(facts)("The document of $endpoint", ({ endpoint, source, category, schemas }) => {
  const byHand = source.startsWith("written by hand")
  const left = byHand ? new Set([...prose, ...presentation]) : prose
  const document = documentOf(endpoint)

  test("names the schemas that the facts name", () => {
    const names = Object.keys(document.components.schemas).filter((name) => name !== "QueueStatus")
    expect(names.toSorted()).toEqual(Object.keys(schemas).toSorted())
  })

  test.each(Object.keys(schemas))("says of %s what the facts say", (name) => {
    const ours = withoutProse(document.components.schemas[name], left)
    const theirs = withoutProse(schemas[name], left)
    expect(ours).toEqual(theirs)
  })

  test("has the category of the facts", () => {
    expect(document.info["x-fal-metadata"]).toMatchObject({ category })
  })
})
