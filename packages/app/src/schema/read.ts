import type { core, ZodType } from "zod"
import { isBytesSchema } from "../bytes.ts"
import { readBounds, readLengths, readPattern, refinementsOf } from "./checks.ts"
import type { Annotations, Field, LiteralValue, ObjectNode, SchemaNode } from "./node.ts"
import { UnsupportedSchemaError } from "./unsupported.ts"
import {
  checksOf,
  defOf,
  defOfCheck,
  metaOf,
  parentOf,
  wrappedBy,
  type ZodDef,
  type ZodSchema,
} from "./zod.ts"

/** Where in the schema we are; `name` is what a nameless object there is called. */
interface Place {
  path: string
  name: string
}

/** Reads a zod schema; throws `UnsupportedSchemaError`. */
export function readSchema(schema: ZodType, name = "Model"): SchemaNode {
  return readNode(schema, { path: "", name })
}

function readNode(schema: ZodSchema, at: Place): SchemaNode {
  const def = defOf(schema)
  if (def === undefined) throw new UnsupportedSchemaError(at.path, "not a zod schema")
  switch (def.type) {
    case "any":
    case "unknown":
    case "null":
    case "boolean":
      return {
        kind: def.type === "unknown" ? "any" : def.type,
        refinements: refinementsOf(def, at),
      }
    case "number":
    case "string":
      return readScalar(def, at)
    case "bigint":
      return {
        kind: "integer",
        bounds: readBounds(def, at),
        unsafe: "bigint",
        refinements: refinementsOf(def, at),
      }
    case "enum":
    case "literal":
      return { kind: "literal", values: valuesOf(def, at), refinements: refinementsOf(def, at) }
    case "nullable":
      return {
        kind: "nullable",
        inner: readNode(def.innerType, at),
        refinements: refinementsOf(def, at),
      }
    case "object":
      return readObject(schema, def, at)
    case "union":
      return readUnion(def, at)
    case "custom":
      if (!isBytesSchema(def)) throw unsupported(at, "z.custom()")
      return { kind: "bytes", refinements: refinementsOf(def, at) }
    default:
      return readContainer(def, at)
  }
}

function readScalar(def: core.$ZodNumberDef | core.$ZodStringDef, at: Place): SchemaNode {
  const refinements = refinementsOf(def, at)
  if (def.type === "string") {
    const pattern = readPattern(def, at)
    const lengths = readLengths(def)
    return { kind: "string", lengths, refinements, ...(pattern === null ? {} : { pattern }) }
  }
  const bounds = readBounds(def, at)
  const formats = [{ ...def }, ...checksOf(def).map(defOfCheck)].flatMap((part) =>
    "format" in part ? [String(part.format)] : [],
  )
  const odd = formats.find((format) => format !== "safeint")
  if (odd !== undefined) throw unsupported(at, `the number format ${odd}`)
  if (formats.length === 0) return { kind: "number", bounds, refinements }
  return { kind: "integer", bounds, unsafe: "refuse", refinements }
}

function readContainer(def: ZodDef, at: Place): SchemaNode {
  const refinements = refinementsOf(def, at)
  switch (def.type) {
    case "array": {
      const element = readNode(def.element, { path: `${at.path}[]`, name: at.name })
      return { kind: "array", lengths: readLengths(def), element, refinements }
    }
    case "tuple": {
      if (def.rest !== null) throw unsupported(at, "a tuple with a rest")
      const elements = def.items.map((item) =>
        readNode(item, { path: `${at.path}[]`, name: at.name }),
      )
      return { kind: "tuple", elements, refinements }
    }
    case "record": {
      const keys = readNode(def.keyType, at)
      const values = readNode(def.valueType, { path: `${at.path}{}`, name: at.name })
      return { kind: "record", keys, values, refinements }
    }
    case "optional":
    case "default":
    case "prefault":
    case "nonoptional":
    case "readonly":
      return readNode(def.innerType, at)
    case "lazy": {
      let resolved: SchemaNode | undefined
      return {
        kind: "lazy",
        resolve: () => (resolved ??= readNode(def.getter(), at)),
        refinements,
      }
    }
    default:
      throw unsupported(at, `z.${def.type}()`)
  }
}

/** Keyed by class, so that a schema used in many places is one node and one name. */
const objects = new WeakMap<ZodSchema, ObjectNode>()

function readObject(schema: ZodSchema, def: core.$ZodObjectDef, at: Place): ObjectNode {
  const owner = classOf(schema)
  const hasOwnRules = def.checks !== defOf(owner)?.checks
  const known = hasOwnRules ? undefined : objects.get(owner)
  const annotations = metaOf(owner)
  const title = annotations["title"]
  // A nameless schema takes the name of its place, so it cannot be shared between places.
  if (known !== undefined && (title !== undefined || known.name === at.name)) return known
  const fields: Field[] = []
  const node: ObjectNode = {
    kind: "object",
    name: typeof title === "string" ? title : at.name,
    fields,
    extra: extraOf(def.catchall, at),
    annotations,
    refinements: refinementsOf(def, at),
  }
  // Known before its fields are read: a getter among them may name the schema itself.
  if (!hasOwnRules) objects.set(owner, node)
  try {
    for (const [key, field] of Object.entries(def.shape)) fields.push(readField(key, field, at))
  } catch (error) {
    objects.delete(owner)
    throw error
  }
  return node
}

/**
 * `.meta()` on a shared schema makes a clone that knows its parent. The oldest one with a title is the class; what a
 * clone adds is said of the field that uses it.
 */
function classOf(schema: ZodSchema): ZodSchema {
  let owner = schema
  for (let each: ZodSchema | undefined = schema; each !== undefined; each = parentOf(each)) {
    if (metaOf(each)["title"] !== undefined) owner = each
  }
  return owner
}

function extraOf(catchall: ZodSchema | undefined, at: Place): ObjectNode["extra"] {
  const type = catchall === undefined ? undefined : defOf(catchall)?.type
  if (type === undefined) return "ignore"
  if (type === "never") return "forbid"
  if (type === "unknown" || type === "any") return "allow"
  throw unsupported(at, "an object with a typed catchall")
}

function readField(key: string, schema: ZodSchema, at: Place): Field {
  const node = readNode(schema, { path: `${at.path}.${key}`, name: pascalCase(key) })
  const field: Field = { key, node, presence: "required", annotations: fieldAnnotationsOf(schema) }
  for (const def of wrappersOf(schema).map(defOf)) {
    if (def === undefined) continue
    if (def.type === "optional") return { ...field, presence: "optional" }
    if (def.type === "nonoptional") return field
    if (def.type === "default" || def.type === "prefault") {
      // zod's getter returns one and the same value for an object; an app may change what it gets.
      const makeDefault = () => structuredClone(def.defaultValue)
      const defaultIsInput = def.type === "prefault"
      return { ...field, presence: "optional", makeDefault, defaultIsInput }
    }
  }
  return field
}

/** The schema and what it wraps, outermost first, down to the first that is not a mere wrapper. */
function wrappersOf(schema: ZodSchema): ZodSchema[] {
  const inner = wrappedBy(schema)
  return inner === undefined ? [schema] : [schema, ...wrappersOf(inner)]
}

function fieldAnnotationsOf(schema: ZodSchema): Annotations {
  const chain = wrappersOf(schema).toReversed()
  const core = chain[0] ?? schema
  const said: Annotations = defOf(core)?.type === "object" ? metaOf(classOf(core)) : {}
  const added = Object.entries(metaOf(core)).filter(([key, value]) => said[key] !== value)
  let annotations: Annotations = Object.fromEntries(added)
  for (const outer of chain.slice(1)) annotations = { ...annotations, ...metaOf(outer) }
  return annotations
}

function readUnion(def: core.$ZodUnionDef | core.$ZodDiscriminatedUnionDef, at: Place): SchemaNode {
  const refinements = refinementsOf(def, at)
  const options = def.options.map((option) => readNode(option, at))
  // The shape that integer() makes.
  const [first, second] = options
  if (options.length === 2 && first?.kind === "integer" && second?.kind === "integer") {
    const bounds = { ...first.bounds, ...second.bounds }
    return { kind: "integer", bounds, unsafe: "bigint", refinements }
  }
  const some = options.filter((option) => option.kind !== "null")
  if (some.length < options.length && some.length > 0) {
    const [only] = some
    const inner: SchemaNode =
      some.length === 1 && only !== undefined
        ? only
        : { kind: "union", options: some, refinements: [] }
    return { kind: "nullable", inner, refinements }
  }
  if (!("discriminator" in def)) return { kind: "union", options, refinements }
  const tagged = options.flatMap((option) => tagsOf(option, def.discriminator, at))
  return {
    kind: "tagged-union",
    discriminator: def.discriminator,
    options: new Map(tagged),
    refinements,
  }
}

function tagsOf(option: SchemaNode, key: string, at: Place): [string, ObjectNode][] {
  const tag = option.kind === "object" && option.fields.find((field) => field.key === key)?.node
  if (option.kind !== "object" || !tag || tag.kind !== "literal") {
    throw unsupported(at, `a discriminated union whose options lack a literal "${key}"`)
  }
  return tag.values.map((value) => [String(value), option])
}

function valuesOf(
  def: core.$ZodEnumDef | core.$ZodLiteralDef<core.util.Literal>,
  at: Place,
): LiteralValue[] {
  const values = def.type === "enum" ? Object.values(def.entries) : def.values
  return values.map((value) => {
    if (value === undefined || typeof value === "bigint") {
      throw unsupported(at, `the literal ${value}`)
    }
    return value
  })
}

/** `image_size` → `ImageSize`. */
function pascalCase(key: string): string {
  return key.replace(/(?:^|_+)([a-zA-Z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

function unsupported(at: Place, what: string): UnsupportedSchemaError {
  return new UnsupportedSchemaError(at.path, `${what} is not supported`)
}
