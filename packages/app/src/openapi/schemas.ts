import { toPlain } from "../json/write.ts"
import type {
  ArrayNode,
  Bounds,
  Field,
  LiteralNode,
  LiteralValue,
  ObjectNode,
  SchemaNode,
  StringNode,
} from "../schema/node.ts"
import { titleOf } from "./names.ts"

export type JsonSchema = Record<string, unknown>

/** The schemas of one document: each object is one, under its class name, and others point to it. */
export class SchemaWriter {
  readonly schemas: Record<string, JsonSchema>
  readonly #names = new Map<ObjectNode, string>()

  /** `schemas` are there already; their names are taken. */
  constructor(schemas: Record<string, JsonSchema>) {
    this.schemas = { ...schemas }
  }

  /** The whole input or output of an endpoint, under a name of its own; its title is the class's when it has one. */
  addRoot(name: string, node: SchemaNode, className: string | undefined): void {
    // The name is taken before what is inside is written.
    this.schemas[name] = {}
    const { title: _, ...schema } = node.kind === "object" ? this.#object(node) : this.write(node)
    const title = className ?? (node.kind === "object" ? node.annotations["title"] : undefined)
    this.schemas[name] = { title: title ?? name, ...schema }
  }

  write(node: SchemaNode): JsonSchema {
    switch (node.kind) {
      case "any":
        return {}
      case "null":
      case "boolean":
        return { type: node.kind }
      case "integer":
      case "number":
        return { type: node.kind, ...boundsOf(node.bounds) }
      case "string":
        return { type: "string", ...stringLimits(node) }
      case "bytes":
        return { type: "string", format: "binary" }
      case "literal":
        return writeLiteral(node)
      case "array":
        return { type: "array", items: this.write(node.element), ...arrayLimits(node) }
      case "tuple": {
        const { length } = node.elements
        const prefixItems = node.elements.map((element) => this.write(element))
        return { type: "array", prefixItems, minItems: length, maxItems: length }
      }
      case "record":
        return { type: "object", additionalProperties: this.#values(node.values) }
      case "object":
        return { $ref: `#/components/schemas/${this.#nameOf(node)}` }
      case "union":
      case "tagged-union":
        return { anyOf: this.#alternatives(node) }
      case "nullable":
        return { anyOf: [...this.#alternatives(node.inner), { type: "null" }] }
      default:
        return this.write(node.resolve())
    }
  }

  #values(node: SchemaNode): JsonSchema | true {
    return node.kind === "any" ? true : this.write(node)
  }

  #alternatives(node: SchemaNode): JsonSchema[] {
    if (node.kind !== "union" && node.kind !== "tagged-union") return [this.write(node)]
    return [...node.options.values()].map((option) => this.write(option))
  }

  #nameOf(node: ObjectNode): string {
    const known = this.#names.get(node)
    if (known !== undefined) return known
    // Two classes of one name, as an old and a new Image, are both told.
    let name = node.name
    for (let count = 2; Object.hasOwn(this.schemas, name); count++) name = `${node.name}${count}`
    this.#names.set(node, name)
    this.schemas[name] = {}
    this.schemas[name] = this.#object(node)
    return name
  }

  #object(node: ObjectNode): JsonSchema {
    const required = node.fields.filter(({ presence }) => presence === "required")
    return {
      title: node.name,
      type: "object",
      ...node.annotations,
      properties: Object.fromEntries(
        node.fields.map((field) => [field.key, this.#property(field)]),
      ),
      "x-fal-order-properties": node.fields.map(({ key }) => key),
      ...(required.length === 0 ? {} : { required: required.map(({ key }) => key) }),
      ...(node.extra === "ignore" ? {} : { additionalProperties: node.extra === "allow" }),
    }
  }

  #property({ key, node, annotations, makeDefault }: Field): JsonSchema {
    const written = this.write(node)
    // A reference may not stand beside other keys in this version of OpenAPI.
    const schema = "$ref" in written ? { allOf: [written] } : written
    const fallback = makeDefault?.()
    return {
      ...schema,
      title: titleOf(key),
      ...annotations,
      // A default of null says no more than the schema.
      ...(fallback === undefined || fallback === null ? {} : { default: toPlain(fallback) }),
    }
  }
}

function boundsOf({ gt, ge, lt, le, multipleOf }: Bounds): JsonSchema {
  return {
    ...(ge === undefined ? {} : { minimum: ge }),
    ...(le === undefined ? {} : { maximum: le }),
    ...(gt === undefined ? {} : { exclusiveMinimum: gt }),
    ...(lt === undefined ? {} : { exclusiveMaximum: lt }),
    ...(multipleOf === undefined ? {} : { multipleOf }),
  }
}

function stringLimits({ lengths: { minLength, maxLength }, pattern }: StringNode): JsonSchema {
  return {
    ...(minLength === undefined ? {} : { minLength }),
    ...(maxLength === undefined ? {} : { maxLength }),
    ...(pattern === undefined ? {} : { pattern: pattern.source }),
  }
}

function arrayLimits({ lengths: { minLength, maxLength } }: ArrayNode): JsonSchema {
  return {
    ...(minLength === undefined ? {} : { minItems: minLength }),
    ...(maxLength === undefined ? {} : { maxItems: maxLength }),
  }
}

function writeLiteral({ values }: LiteralNode): JsonSchema {
  const types = new Set(values.map(typeOfLiteral))
  const [only] = types
  return { enum: [...values], ...(types.size === 1 ? { type: only } : {}) }
}

function typeOfLiteral(value: LiteralValue): string {
  if (value === null) return "null"
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number"
  return typeof value
}
