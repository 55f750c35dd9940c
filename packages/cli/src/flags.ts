import { parseArgs } from "node:util"
import { nearest } from "@tintype/protocol"
import { UsageError } from "./terminal.ts"

export interface FlagSpec {
  type: "string" | "boolean"
  short?: string
  /** May be given more than once; its values are in `lists`. */
  multiple?: boolean
}

export type FlagSpecs = Record<string, FlagSpec>

export interface ParsedFlags {
  strings: Record<string, string>
  /** Of flags that may be given more than once, in their order. */
  lists: Record<string, string[]>
  booleans: Set<string>
  words: string[]
}

/**
 * Splits a command's arguments into flags and words. Flags may stand anywhere; after `--` all are words.
 * Throws `UsageError` for an unknown flag, with the nearest, and for a missing value.
 */
export function parseFlags(argv: readonly string[], specs: FlagSpecs): ParsedFlags {
  const { tokens } = parseArgs({
    args: [...argv],
    options: specs,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const parsed: ParsedFlags = { strings: {}, lists: {}, booleans: new Set(), words: [] }
  for (const token of tokens) {
    if (token.kind === "positional") parsed.words.push(token.value)
    if (token.kind === "option") addFlag(parsed, specs, token)
  }
  return parsed
}

function addFlag(
  parsed: ParsedFlags,
  specs: FlagSpecs,
  token: { name: string; rawName: string; value: string | undefined },
): void {
  const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined
  if (spec === undefined) {
    const near = nearest(token.name, Object.keys(specs))
    const hint = near === null ? "" : `; did you mean --${near}?`
    throw new UsageError(`Unknown flag ${token.rawName}${hint}`)
  }
  if (spec.type === "boolean") {
    if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`)
    parsed.booleans.add(token.name)
    return
  }
  if (token.value === undefined || token.value === "") {
    throw new UsageError(`${token.rawName} needs a value`)
  }
  if (spec.multiple === true) (parsed.lists[token.name] ??= []).push(token.value)
  else parsed.strings[token.name] = token.value
}
