import type { LiteralNode, SchemaNode } from "../schema/node.ts"

/** How Python writes a value: `'a'`, `1`, `True`, `None`, `"it's"`, `['a', 1]`. */
export function pythonRepr(value: unknown): string {
  if (value === null) return "None"
  if (value === true) return "True"
  if (value === false) return "False"
  if (typeof value === "string") return quoted(value)
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(", ")}]`
  if (typeof value === "number" || typeof value === "bigint") return String(value)
  if (typeof value !== "object") return typeof value
  const members = Object.entries(value).map(([key, each]) => `${quoted(key)}: ${pythonRepr(each)}`)
  return `{${members.join(", ")}}`
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escaped = text
    .replaceAll("\\", "\\\\")
    .replaceAll("\n", "\\n")
    .replaceAll("\t", "\\t")
    .replaceAll("\r", "\\r")
    .replaceAll(quote, `\\${quote}`)
  return quote + escaped + quote
}

/** `'a', 'b' or 'c'`. */
export function expectedText(node: LiteralNode): string {
  const texts = node.values.map(pythonRepr)
  const last = texts.pop() ?? ""
  return texts.length === 0 ? last : `${texts.join(", ")} or ${last}`
}

/** What Pydantic calls a branch of a union in `loc`: `ImageSize`, `list[int]`, `literal['a','b']`. */
export function branchName(node: SchemaNode): string {
  switch (node.kind) {
    case "any":
      return "any"
    case "null":
      return "none"
    case "boolean":
      return "bool"
    case "integer":
      return Object.keys(node.bounds).length > 0 ? "constrained-int" : "int"
    case "number":
      return Object.keys(node.bounds).length > 0 ? "constrained-float" : "float"
    case "string": {
      const isConstrained = node.pattern !== undefined || Object.keys(node.lengths).length > 0
      return isConstrained ? "constrained-str" : "str"
    }
    case "bytes":
      return "bytes"
    case "literal":
      return `literal[${node.values.map(pythonRepr).join(",")}]`
    case "array":
      return `list[${branchName(node.element)}]`
    case "tuple":
      return `tuple[${node.elements.map(branchName).join(", ")}]`
    case "record":
      return `dict[${branchName(node.keys)},${branchName(node.values)}]`
    case "object":
      return node.name
    case "union":
      return `union[${node.options.map(branchName).join(",")}]`
    case "tagged-union":
      return `tagged-union[${[...node.options.values()].map(branchName).join(",")}]`
    case "nullable":
      return `nullable[${branchName(node.inner)}]`
    default:
      return nameOfLazy(node.resolve())
  }
}

// A name that contained itself would never end.
function nameOfLazy(node: SchemaNode): string {
  return node.kind === "object" ? node.name : "definition-ref"
}
