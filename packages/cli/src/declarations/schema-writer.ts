import { isRecord } from "../queue/wire-reading.ts"
import type { Schema } from "./document.ts"
import { writeComment } from "./comment.ts"

/**
 * Writes the schemas of one side of an endpoint, input or output, as TypeScript. Each schema that is pointed to becomes a
 * declaration under a name of its own, so that what contains itself is told as well.
 */
export class SchemaWriter {
  /** In the order in which they were met. */
  readonly declarations: string[] = []
  readonly #schemas: Record<string, Schema>
  readonly #side: "input" | "output"
  readonly #nameOf: (schema: string) => string
  readonly #named = new Map<string, string>()

  /** `nameOf` gives the name under which a schema is declared, another one each time. */
  constructor(
    schemas: Record<string, Schema>,
    side: "input" | "output",
    nameOf: (schema: string) => string,
  ) {
    this.#schemas = schemas
    this.#side = side
    this.#nameOf = nameOf
  }

  /** Whether a file may be given in place of its URL. */
  takesFiles = false

  /** Declares the schema under this name. */
  declare(name: string, schema: Schema): void {
    const at = this.declarations.push("") - 1
    const comment = writeComment({ description: schema["description"] }, "")
    const type = this.#write(this.#resolveRoot(schema), "")
    const isObject = type.startsWith("{") && type.endsWith("}") && !/^\}/m.test(type.slice(0, -1))
    const declared = isObject ? `interface ${name} ${type}` : `type ${name} = ${type}`
    this.declarations[at] = `${comment}export ${declared}\n`
  }

  /** The root is told under its own name, not under that of what it points to. */
  #resolveRoot(schema: Schema): Schema {
    const target = this.#target(schema)
    return target === null ? schema : (this.#schemas[target] ?? {})
  }

  #target({ $ref: reference }: Schema): string | null {
    if (typeof reference !== "string") return null
    const name = reference.replace(/^#\/components\/schemas\//, "")
    return Object.hasOwn(this.#schemas, name) ? name : null
  }

  #write(schema: unknown, indent: string): string {
    if (!isRecord(schema)) return schema === false ? "never" : "unknown"
    const parts = this.#parts(schema, indent)
    const type =
      parts.length === 0 ? "unknown" : parts.map(inIntersection(parts.length)).join(" & ")
    return schema["nullable"] === true ? union([type, "null"]) : type
  }

  /** What all holds at once. */
  #parts(schema: Schema, indent: string): string[] {
    const { enum: words, const: only, type } = schema
    if ("$ref" in schema) return [this.#refer(schema)]
    if ("const" in schema) return [literal(only)]
    if (Array.isArray(words)) return [union(words.map(literal))]
    const parts: string[] = []
    for (const key of ["allOf", "anyOf", "oneOf"] as const) {
      const options: unknown = schema[key]
      if (!Array.isArray(options)) continue
      const types = options.map((option) => this.#write(option, indent))
      if (key === "allOf") parts.push(...types.filter((one) => one !== "unknown"))
      else parts.push(union(types))
    }
    const kinds = (Array.isArray(type) ? type : [type ?? guessType(schema)]).filter(isText)
    if (kinds.length > 0)
      parts.push(union(kinds.map((kind) => this.#writeKind(kind, schema, indent))))
    return parts.filter((part) => part !== "unknown")
  }

  #refer(schema: Schema): string {
    const target = this.#target(schema)
    if (target === null) return "unknown"
    const known = this.#named.get(target)
    if (known !== undefined) return known
    const name = this.#nameOf(target)
    this.#named.set(target, name)
    this.declare(name, this.#schemas[target] ?? {})
    return name
  }

  #writeKind(kind: string, schema: Schema, indent: string): string {
    switch (kind) {
      case "string":
      case "boolean":
      case "null":
        return kind
      case "integer":
      case "number":
        return "number"
      case "array":
        return this.#array(schema, indent)
      case "object":
        return this.#object(schema, indent)
      default:
        return "unknown"
    }
  }

  #array({ items, prefixItems }: Schema, indent: string): string {
    if (Array.isArray(prefixItems)) {
      const types = prefixItems.map((item) => this.#write(item, indent))
      return `[${types.join(", ")}${isRecord(items) ? `, ...${arrayOf(this.#write(items, indent))}` : ""}]`
    }
    return arrayOf(this.#write(items, indent))
  }

  #object({ properties, required, additionalProperties }: Schema, indent: string): string {
    const inner = `${indent}  `
    const needed = new Set(Array.isArray(required) ? required : [])
    const known = isRecord(properties) ? Object.entries(properties) : []
    const lines = known.map(([key, property]) =>
      this.#property(key, property, { needed: needed.has(key), inner }),
    )
    if (additionalProperties === true || isRecord(additionalProperties)) {
      const values = this.#write(additionalProperties, inner)
      // What is named may be of another type than what is not.
      lines.push(`${inner}[name: string]: ${known.length === 0 ? values : "unknown"}\n`)
    }
    if (lines.length > 0) return `{\n${lines.join("")}${indent}}`
    return additionalProperties === false ? "Record<string, never>" : "Record<string, unknown>"
  }

  #property(
    key: string,
    property: unknown,
    { needed, inner }: { needed: boolean; inner: string },
  ): string {
    const facts = isRecord(property) ? property : {}
    const type = this.#fileType(key, facts) ?? this.#write(property, inner)
    // An input that has a default may be left out, whatever the list says.
    const isOptional = !needed || (this.#side === "input" && "default" in facts)
    return `${writeComment(facts, inner)}${inner}${propertyName(key)}${isOptional ? "?" : ""}: ${type}\n`
  }

  /** Where the URL of a file is taken, the file itself can be given: the client uploads it. */
  #fileType(key: string, schema: Schema): string | null {
    if (this.#side !== "input" || !/(^|_)urls?$/.test(key)) return null
    const written = this.#write(schema, "")
    if (!/^(string|string\[\])( \| (null|string|string\[\]))*$/.test(written)) return null
    this.takesFiles = true
    return written.replaceAll("string[]", "FileInput[]").replaceAll(/\bstring\b/g, "FileInput")
  }
}

/** Where the type is left out, what stands beside it tells. */
function guessType(schema: Schema): string | null {
  if ("properties" in schema || isRecord(schema["additionalProperties"])) return "object"
  return "items" in schema || "prefixItems" in schema ? "array" : null
}

function isText(value: unknown): value is string {
  return typeof value === "string"
}

function union(types: string[]): string {
  const different = [...new Set(types)]
  if (different.length === 0) return "never"
  return different.includes("unknown") ? "unknown" : different.join(" | ")
}

function inIntersection(count: number): (type: string) => string {
  return (type) => (count > 1 && type.includes(" | ") ? `(${type})` : type)
}

function arrayOf(type: string): string {
  return /^[\w.]+$/.test(type) || /^\{[^{}]*\}$/.test(type) ? `${type}[]` : `(${type})[]`
}

function literal(value: unknown): string {
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) {
    return JSON.stringify(value)
  }
  return "unknown"
}

function propertyName(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key)
}
