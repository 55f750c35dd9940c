import { readFile, stat } from "node:fs/promises"
import { extname, resolve } from "node:path"
import { parseExact } from "./exact-json.ts"
import { contentTypeOf } from "./media-types.ts"
import { CommandError, reasonOf, UsageError } from "./terminal.ts"

/** A data URI is a third larger than its file, and the server takes 100 MiB. */
const fileBytesMax = 70 * 1024 * 1024

const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

export interface InputSource {
  /** `key=value` and `key:=json`, later ones win. */
  words: readonly string[]
  /** The text of `--input`, a JSON object that the words add to. */
  base: string | null
  cwd: string
}

/**
 * The request's body. Each value is kept as JSON text, so that numbers of any size arrive as they were typed.
 *
 * ```ts
 * await readInput({ words: ["prompt=a cat", "seed=42"], base: null, cwd }) // {"prompt":"a cat","seed":42}
 * ```
 */
export async function readInput(source: InputSource): Promise<string> {
  if (source.base !== null && source.words.length === 0) return checkJson(source.base)
  const members = new Map<string, string>()
  if (source.base !== null) {
    for (const [key, value] of Object.entries(parseObject(source.base))) {
      members.set(key, JSON.stringify(value))
    }
  }
  for (const word of source.words) {
    const [key, value] = await readMember(word, source.cwd)
    members.set(key, value)
  }
  const texts = [...members].map(([key, value]) => `${JSON.stringify(key)}:${value}`)
  return `{${texts.join(",")}}`
}

function checkJson(text: string): string {
  try {
    JSON.parse(text)
  } catch (error) {
    throw new UsageError(`--input is not JSON: ${reasonOf(error)}`, { cause: error })
  }
  return text
}

function parseObject(text: string): object {
  const value = parseExact(checkJson(text))
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError("--input must be a JSON object when key=value is given as well")
  }
  return value
}

async function readMember(word: string, cwd: string): Promise<[string, string]> {
  const match = /^([^=]+?)(:?=)(.*)$/s.exec(word)
  if (match === null) {
    throw new UsageError(
      `Expected key=value, got ${JSON.stringify(word)}; quote values with spaces`,
    )
  }
  const [, key = "", sign, text = ""] = match
  if (sign === ":=") return [key, parseMember(key, text)]
  if (text.startsWith("@")) return [key, JSON.stringify(await readDataUri(text.slice(1), cwd))]
  return [key, toJsonText(key, text)]
}

/** What a value means by its looks: number, `true`, `false`, `null`, JSON after `{` or `[`, else a string. */
export function toJsonText(key: string, text: string): string {
  if (number.test(text) || text === "true" || text === "false" || text === "null") return text
  if (text.startsWith("{") || text.startsWith("[")) return parseMember(key, text)
  return JSON.stringify(text)
}

function parseMember(key: string, text: string): string {
  try {
    JSON.parse(text)
  } catch (error) {
    const why = reasonOf(error)
    throw new UsageError(
      `The value of ${key} is not JSON: ${why}; for a text write ${key}:='"…"'`,
      { cause: error },
    )
  }
  return text
}

async function readDataUri(path: string, cwd: string): Promise<string> {
  const full = resolve(cwd, path)
  try {
    const { size } = await stat(full)
    if (size > fileBytesMax) {
      throw new UsageError(
        `${path} has ${size} bytes; at most ${fileBytesMax} can be sent this way`,
      )
    }
    const bytes = await readFile(full)
    return `data:${contentTypeOf(extname(path))};base64,${bytes.toString("base64")}`
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`, { cause: error })
  }
}

/** The text of `--input`: a file, or the standard input for `-`. */
export async function readInputText(
  path: string,
  input: AsyncIterable<Uint8Array>,
  cwd: string,
): Promise<string> {
  if (path !== "-") {
    try {
      return await readFile(resolve(cwd, path), "utf8")
    } catch (error) {
      throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`, { cause: error })
    }
  }
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of input) {
    bytes += chunk.byteLength
    if (bytes > fileBytesMax)
      throw new CommandError(`The input has more than ${fileBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}
