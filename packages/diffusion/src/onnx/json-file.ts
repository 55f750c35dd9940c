import { readFile, stat } from "node:fs/promises"
import { messageOf, modelFault } from "../diffusion-error.ts"
import { jsonBytesMax } from "../limits.ts"

export type Json = Readonly<Record<string, unknown>>

/** The object in a file of a model's folder; throws a `model_fault` that names the file. */
export async function readJson(path: string): Promise<Json> {
  const text = await readText(path)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw modelFault(path, `not JSON (${messageOf(error)})`, { cause: error })
  }
  if (isJson(value)) return value
  throw modelFault(path, "not a JSON object")
}

/** `{}` where there is no such file. */
export async function readOptionalJson(path: string): Promise<Json> {
  return (await sizeOf(path)) === null ? {} : readJson(path)
}

export async function readText(path: string): Promise<string> {
  const bytes = await sizeOf(path)
  if (bytes === null) throw modelFault(path, "the file is missing")
  if (bytes > jsonBytesMax) throw modelFault(path, `larger than ${jsonBytesMax} bytes`)
  return await readFile(path, "utf8")
}

/** Bytes of a file; null where there is none. */
export async function sizeOf(path: string): Promise<number | null> {
  const found = await stat(path).catch(() => null)
  return found?.isFile() === true ? found.size : null
}

export function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Reads the numbers of one configuration file. */
export class JsonNumbers {
  readonly #path: string
  readonly #json: Json

  constructor(path: string, json: Json) {
    this.#path = path
    this.#json = json
  }

  /** Absent and null give the fallback; anything but a finite number is a fault. */
  number<Fallback>(key: string, fallback: Fallback): number | Fallback {
    const value = this.#json[key]
    if (value === undefined || value === null) return fallback
    if (typeof value === "number" && Number.isFinite(value)) return value
    throw modelFault(this.#path, `${key} is no number`)
  }

  wholeNumber<Fallback>(key: string, fallback: Fallback): number | Fallback {
    const value = this.number(key, fallback)
    if (value === fallback || (Number.isSafeInteger(value) && Number(value) > 0)) return value
    throw modelFault(this.#path, `${key} is no whole number above 0`)
  }
}
