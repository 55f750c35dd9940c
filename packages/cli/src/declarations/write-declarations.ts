import type { DescribedEndpoint } from "./document.ts"
import { writeComment } from "./comment.ts"
import { SchemaWriter } from "./schema-writer.ts"

/**
 * The file that makes `@tintype/client` know these endpoints. The same endpoints give the same text, in whatever order they come.
 */
export function writeDeclarations(endpoints: readonly DescribedEndpoint[]): string {
  const names = new Names()
  const sorted = endpoints.toSorted((one, other) => (one.id < other.id ? -1 : 1))
  const written = sorted.map((endpoint) => writeEndpoint(endpoint, names))
  const imports = written.some(({ takesFiles }) => takesFiles)
    ? 'import type { FileInput } from "@tintype/client"\n'
    : "export {}\n"
  return [
    "// Written by `tintype types`. Do not edit: write it again.\n",
    imports,
    ...written.flatMap(({ declarations }) => declarations),
    `declare module "@tintype/client" {\n  interface Endpoints {\n${written
      .map(({ entry }) => entry)
      .join("")}  }\n}\n`,
  ].join("\n")
}

interface WrittenEndpoint {
  declarations: string[]
  entry: string
  takesFiles: boolean
}

function writeEndpoint(endpoint: DescribedEndpoint, names: Names): WrittenEndpoint {
  const base = pascalCase(endpoint.id)
  const sides = (["input", "output"] as const).map((side) => {
    const own = endpoint[side]
    if (own === null) return { side, name: side === "input" ? "object" : "unknown", writer: null }
    const name = names.take(`${base}${pascalCase(side)}`)
    const nameOf = (schema: string) => names.take(`${name}${pascalCase(schema)}`)
    const writer = new SchemaWriter(endpoint.schemas, side, nameOf)
    writer.declare(name, own)
    return { side, name, writer }
  })
  const about = [endpoint.title, endpoint.category].filter((text) => text !== "").join(" · ")
  const types = sides.map(({ side, name }) => `${side}: ${name}`).join("; ")
  return {
    declarations: sides.flatMap(({ writer }) => writer?.declarations ?? []),
    entry: `${writeComment({ description: about }, "    ")}    ${JSON.stringify(endpoint.id)}: { ${types} }\n`,
    takesFiles: sides.some(({ writer }) => writer?.takesFiles === true),
  }
}

/** `fal-ai/flux/dev` → `FalAiFluxDev` */
function pascalCase(text: string): string {
  const words = text.split(/[^A-Za-z0-9]+/).filter((word) => word !== "")
  const joined = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("")
  return /^[A-Za-z]/.test(joined) ? joined : `Of${joined}`
}

/** Different things have different names, whatever they are made of. */
class Names {
  readonly #taken = new Set<string>(["FileInput"])

  take(wanted: string): string {
    let name = wanted
    for (let count = 2; this.#taken.has(name); count += 1) name = `${wanted}${count}`
    this.#taken.add(name)
    return name
  }
}
