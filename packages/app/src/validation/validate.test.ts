import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { z, type ZodType } from "zod"
import { integer } from "../integer.ts"
import { exactInteger } from "../json/limits.ts"
import { parseJson } from "../json/parse.ts"
import { toPlain } from "../json/write.ts"
import { readSchema } from "../schema/read.ts"
import { errorsMax, pydanticVersion } from "./run.ts"
import { validate } from "./validate.ts"

interface Case {
  schema: string
  input: string
  value?: unknown
  errors?: unknown[]
}

const read = (text: string): unknown => {
  const parsed = parseJson(new TextEncoder().encode(text))
  if (parsed.kind !== "value") throw new Error(`not JSON: ${text}`)
  return parsed.value
}

const fixture = new URL("../../fixtures/pydantic-cases.json", import.meta.url)
const {
  cases,
  versions,
}: {
  cases: Case[]
  versions: Record<string, string>
} = JSON.parse(
  readFileSync(fixture, "utf8"),
  (_key, value: unknown, context?: { source?: string }) =>
    typeof value === "number" ? (exactInteger(context?.source ?? "") ?? value) : value,
)

const ImageSize = z
  .object({
    width: z.int().gt(0).lte(14142).default(512),
    height: z.int().gt(0).lte(14142).default(512),
  })
  .meta({ title: "ImageSize" })
const Preset = z.enum([
  "square_hd",
  "square",
  "portrait_4_3",
  "portrait_16_9",
  "landscape_4_3",
  "landscape_16_9",
])
const LoraWeight = z
  .object({
    path: z.string(),
    scale: z.number().min(0).max(1).default(1),
    force: z.boolean().default(false),
  })
  .meta({ title: "LoraWeight" })
const Embedding = z.object({
  path: z.string(),
  tokens: z.array(z.string()).default(["<s0>", "<s1>"]),
})
const Small = z.object({ a: integer() }).meta({ title: "Small" })
const Large = z.object({ a: integer(), b: integer().default(0) }).meta({ title: "Large" })
const Cat = z.object({ kind: z.literal("cat"), lives: z.int() }).meta({ title: "Cat" })
const Dog = z
  .object({ kind: z.literal("dog"), name: z.string().default("Rex") })
  .meta({ title: "Dog" })
const Pet = z.discriminatedUnion("kind", [Cat, Dog])
const Tree = z.object({
  name: z.string(),
  get children() {
    return z.array(Tree).default([])
  },
})

const v = (schema: ZodType) => z.object({ v: schema })
const schemas: Record<string, ZodType> = {
  FluxInput: z.object({
    prompt: z.string(),
    image_size: z.union([ImageSize, Preset]).default("landscape_4_3"),
    num_inference_steps: z.int().min(1).max(50).default(28),
    seed: integer().nullable().default(null),
    guidance_scale: z.number().min(1).max(20).default(3.5),
    sync_mode: z.boolean().default(false),
    num_images: z.int().min(1).max(4).default(1),
    output_format: z.enum(["jpeg", "png"]).default("jpeg"),
    loras: z.array(LoraWeight).default([]),
    embeddings: z.array(Embedding).default([]),
  }),
  Int: v(integer()),
  Float: v(z.number()),
  Str: v(z.string()),
  Bool: v(z.boolean()),
  Null: v(z.null()),
  Anything: v(z.unknown()),
  OptionalInt: v(z.int().nullable()),
  BoundedInt: v(z.int().gt(0).lt(10).multipleOf(3)),
  BoundedFloat: v(z.number().gt(0.5).lt(2.5).multipleOf(0.1)),
  ClosedFloat: v(z.number().min(0).max(1.5)),
  ShortStr: v(z.string().min(2).max(4)),
  OneStr: v(z.string().length(1)),
  Pattern: v(z.string().regex(/^[a-z]+$/)),
  OneWord: v(z.literal("video")),
  MixedLiteral: v(z.literal(["a", 1, true, null, "it's"])),
  IntLiteral: v(z.literal([5, 10])),
  Ints: v(z.array(integer())),
  FewStrs: v(z.array(z.string()).min(1).max(2)),
  FewInts: v(z.array(z.int()).min(2).max(3)),
  Timings: v(z.record(z.string(), z.number())),
  Table: v(z.record(z.string(), z.array(LoraWeight))),
  ByNumber: v(z.record(z.string().min(2), z.int())),
  IntOrStr: v(z.union([z.int(), z.string()])),
  IntOrFloat: v(z.union([z.int(), z.number()])),
  FloatOrInt: v(z.union([z.number(), integer()])),
  BoolOrInt: v(z.union([z.boolean(), z.int()])),
  BoundedUnion: v(
    z.union([
      z.int().min(1),
      z.number().max(0),
      z.string().max(3),
      z.array(z.int()),
      z.record(z.string(), z.int()),
    ]),
  ),
  NullableUnion: v(z.union([ImageSize, Preset, z.null()]).default(null)),
  ListUnion: v(z.union([z.array(z.int()), z.array(z.string()), z.array(ImageSize)])),
  NestedUnion: v(
    z.union([
      z.array(z.union([z.int(), z.literal("auto")])),
      z.record(z.string(), z.any()),
      z.tuple([z.int(), z.string()]),
      z.any(),
    ]),
  ),
  OptionalMember: v(z.array(ImageSize.nullable())),
  MemberUnion: v(z.union([z.array(z.int().nullable()), z.boolean()]).nullable()),
  Models: v(z.union([Small, Large])),
  AnyOrInt: v(z.union([z.any(), z.int()])),
  Pet: v(Pet),
  Pets: v(z.array(Pet)),
  Pair: v(z.tuple([z.int(), z.string()])),
  Span: v(z.tuple([z.number().nullable(), z.number().nullable()])),
  Forbidding: z.strictObject({ a: z.int().default(1) }),
  Allowing: z.looseObject({ a: z.int().default(1) }),
  Many: z.object({ a: z.int(), b: z.string(), c: Small }),
  Even: z
    .object({
      v: z.int().refine((n) => n % 2 === 0, { message: "must be even" }),
      w: z.int().default(0),
    })
    .refine((all) => all.w <= all.v, { message: "w exceeds v" }),
  Keys: z.object({ constructor: z.string(), toString: z.int().default(3) }),
  Tree,
  Names: v(
    z.union([
      z.array(z.union([z.int(), z.literal("auto")])),
      z.tuple([z.int(), z.string()]),
      z.record(z.string(), z.any()),
      z.array(z.literal([1, true, null])),
      z.array(Pet),
      z.array(z.null()),
      z.array(z.int()).min(1),
      z.string().regex(/^a+$/),
      z.number().multipleOf(2),
    ]),
  ),
  Refine: v(z.string().min(3).nullable()),
}

/** Python's 1.0 and -0.0 are 1 and 0 in JSON, and what is not finite is text in the fixture. */
const comparable = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(toPlain(value)), (_key, each: unknown, context?: { source?: string }) =>
    typeof each === "number" && !Number.isSafeInteger(each) ? (context?.source ?? each) : each,
  )

describe("validation answers what Pydantic answers", () => {
  it("has a schema for each of the oracle's, and many cases", () => {
    expect([...new Set(cases.map((each) => each.schema))].toSorted()).toEqual(
      Object.keys(schemas).toSorted(),
    )
    expect(cases.length).toBeGreaterThan(400)
    expect(versions["pydantic"]).toMatch(new RegExp(`^${pydanticVersion}\\.`))
  })

  it.each(cases.map((each) => [each.schema, each.input, each] as const))(
    "%s %s",
    (name, input, expected) => {
      const schema = schemas[name] ?? z.never()
      const result = validate(readSchema(schema, name), read(input), ["body"])
      const { value, errors } = expected
      expect(comparable(result)).toEqual(comparable(errors === undefined ? { value } : { errors }))
    },
  )
})

const check = (schema: ZodType, value: unknown) => validate(readSchema(schema), value, ["body"])

describe("validation", () => {
  it("tells at most so many errors, those of unions included", () => {
    const wrong = Array.from({ length: errorsMax }, () => ({}))
    for (const element of [z.int(), z.union([z.int(), z.string()])]) {
      const result = check(z.array(element), wrong)
      expect("errors" in result && result.errors.length).toBe(errorsMax)
    }
  })

  it("validates a default that is an input, and takes any other as it is", () => {
    const size = z.object({ width: z.int().default(512) })
    const schema = z.object({
      a: size.prefault({}),
      b: z.string().default("x"),
      c: z.int().optional(),
    })
    expect(check(schema, {})).toEqual({ value: { a: { width: 512 }, b: "x" } })
  })

  it("tells a refinement's path, and what is there", () => {
    const range = z
      .object({ from: z.int(), to: z.int() })
      .refine((all) => all.from <= all.to, { message: "ends before it begins", path: ["to"] })
    expect(check(range, { from: 2, to: 1 })).toMatchObject({
      errors: [
        {
          loc: ["body", "to"],
          type: "value_error",
          msg: "Value error, ends before it begins",
          input: 1,
        },
      ],
    })
  })

  it("refuses a refinement that needs a wait", () => {
    const schema = z.string().refine(async () => true)
    expect(() => check(schema, "x")).toThrow("asynchronous")
  })
})
