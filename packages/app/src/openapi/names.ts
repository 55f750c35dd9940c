/**
 * The name of an endpoint's schemas, without `Input` or `Output`: its id without the owner in PascalCase. A segment that
 * would join two digits keeps its dots; all 763 documents that are public follow this.
 *
 *     schemaNameOf("fal-ai/flux/dev") // FluxDev
 *     schemaNameOf("fal-ai/vibevoice/0.5b") // Vibevoice05b
 *     schemaNameOf("fal-ai/sana/v1.5/1.6b") // SanaV151.6b
 */
export function schemaNameOf(endpointId: string): string {
  let name = ""
  for (const segment of endpointId.split("/").slice(1)) {
    const separators = /\d$/.test(name) && /^\d/.test(segment) ? /-/ : /[-.]/
    name += segment.split(separators).map(capitalize).join("")
  }
  return name
}

/** `num_images` → `Num Images`, as Pydantic titles a property. */
export function titleOf(key: string): string {
  return key
    .replaceAll("_", " ")
    .replace(/[a-zA-Z]+/g, (word) => capitalize(word.toLowerCase()))
    .trim()
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
