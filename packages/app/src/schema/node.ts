import type { $ZodCheck } from "zod/v4/core"

/**
 * A schema as validation and the OpenAPI documents see it: what zod said, in the terms of Pydantic. Made by
 * `readSchema`, once for each zod schema.
 */

/** `.meta()` and `.describe()`; every key but `id` is written into the document as it stands. */
export type Annotations = Readonly<Record<string, unknown>>

interface NodeBase {
  /** `.refine()`: run after the value itself is valid. */
  refinements: readonly $ZodCheck[]
}

export interface Bounds {
  gt?: number
  ge?: number
  lt?: number
  le?: number
  multipleOf?: number
}

export interface Lengths {
  minLength?: number
  maxLength?: number
}

export interface AnyNode extends NodeBase {
  kind: "any"
}

export interface NullNode extends NodeBase {
  kind: "null"
}

export interface BooleanNode extends NodeBase {
  kind: "boolean"
}

export interface IntegerNode extends NodeBase {
  kind: "integer"
  bounds: Bounds
  /** Beyond ±2^53: `bigint` hands the exact digits on, `refuse` answers an error: never a rounded number. */
  unsafe: "bigint" | "refuse"
}

export interface NumberNode extends NodeBase {
  kind: "number"
  bounds: Bounds
}

export interface StringNode extends NodeBase {
  kind: "string"
  lengths: Lengths
  pattern?: RegExp
}

/** Bytes in msgpack, base64 in JSON. */
export interface BytesNode extends NodeBase {
  kind: "bytes"
}

export type LiteralValue = string | number | boolean | null

export interface LiteralNode extends NodeBase {
  kind: "literal"
  values: readonly LiteralValue[]
}

export interface ArrayNode extends NodeBase {
  kind: "array"
  lengths: Lengths
  element: SchemaNode
}

export interface TupleNode extends NodeBase {
  kind: "tuple"
  elements: readonly SchemaNode[]
}

export interface RecordNode extends NodeBase {
  kind: "record"
  keys: SchemaNode
  values: SchemaNode
}

export interface Field {
  key: string
  node: SchemaNode
  presence: "required" | "optional"
  /** A fresh default for a field that is missing. */
  makeDefault?: () => unknown
  /** `.prefault()`: the default is an input, and validated like one. */
  defaultIsInput?: boolean
  annotations: Annotations
}

export interface ObjectNode extends NodeBase {
  kind: "object"
  /** The class name, which unions put into `loc` and documents into `$ref`. */
  name: string
  fields: readonly Field[]
  extra: "ignore" | "allow" | "forbid"
  annotations: Annotations
}

export interface UnionNode extends NodeBase {
  kind: "union"
  options: readonly SchemaNode[]
}

export interface TaggedUnionNode extends NodeBase {
  kind: "tagged-union"
  discriminator: string
  options: ReadonlyMap<string, ObjectNode>
}

export interface NullableNode extends NodeBase {
  kind: "nullable"
  inner: SchemaNode
}

/** A schema that contains itself. */
export interface LazyNode extends NodeBase {
  kind: "lazy"
  resolve: () => SchemaNode
}

export type SchemaNode =
  | AnyNode
  | NullNode
  | BooleanNode
  | IntegerNode
  | NumberNode
  | StringNode
  | BytesNode
  | LiteralNode
  | ArrayNode
  | TupleNode
  | RecordNode
  | ObjectNode
  | UnionNode
  | TaggedUnionNode
  | NullableNode
  | LazyNode
