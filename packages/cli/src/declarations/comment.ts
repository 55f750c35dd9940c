/** A default that is longer is told by nobody who reads it in an editor. */
const valueLengthMax = 200
const lineLengthMax = 100

/** What an editor shows of a property: what it is, its limits, its default; "" when there is nothing to say. */
export function writeComment(facts: Record<string, unknown>, indent: string): string {
  const lines = [...describe(facts), ...limits(facts), ...tags(facts)]
  if (lines.length === 0) return ""
  const [only = ""] = lines
  if (lines.length === 1) return `${indent}/** ${only} */\n`
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd() + "\n").join("")}${indent} */\n`
}

function describe({ description }: Record<string, unknown>): string[] {
  return typeof description === "string" ? wrap(clean(description)) : []
}

function limits(facts: Record<string, unknown>): string[] {
  const { limit_description: told } = facts
  const parts = [
    bound(facts, "minimum", "at least"),
    bound(facts, "exclusiveMinimum", "above"),
    bound(facts, "maximum", "at most"),
    bound(facts, "exclusiveMaximum", "below"),
    bound(facts, "multipleOf", "a multiple of"),
    bound(facts, "minLength", "characters: at least"),
    bound(facts, "maxLength", "characters: at most"),
    bound(facts, "minItems", "items: at least"),
    bound(facts, "maxItems", "items: at most"),
  ].filter((part) => part !== null)
  const own = parts.length === 0 ? [] : [capitalize(`${parts.join(", ")}.`)]
  return typeof told === "string" ? [...own, ...wrap(clean(told))] : own
}

function bound(facts: Record<string, unknown>, key: string, words: string): string | null {
  const value = facts[key]
  return typeof value === "number" ? `${words} ${value}` : null
}

function tags(facts: Record<string, unknown>): string[] {
  const fallback = facts["default"]
  const text = fallback === undefined || fallback === null ? "" : JSON.stringify(fallback)
  return [
    ...(text === "" || text.length > valueLengthMax ? [] : [`@default ${clean(text)}`]),
    ...(facts["deprecated"] === true ? ["@deprecated"] : []),
  ]
}

/** One line; nothing in it ends the comment or begins a tag. */
function clean(text: string): string {
  const line = text.replaceAll("*/", "*\\/").replaceAll(/\s+/g, " ").trim()
  return line.replaceAll(/(^|\s)@/g, "$1\\@")
}

function wrap(text: string): string[] {
  const lines: string[] = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > lineLengthMax) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return line === "" ? lines : [...lines, line]
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
