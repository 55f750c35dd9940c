import { stat } from "node:fs/promises"
import { join } from "node:path"
import { Tokenizer } from "@huggingface/tokenizers"
import { messageOf, modelFault } from "../diffusion-error.ts"
import { clipTokenizer, contentOf } from "./clip-tokenizer.ts"
import { type Json, readJson, readOptionalJson, sizeOf } from "./json-file.ts"

/** CLIP's, where a configuration does not say; newer ones write 10^30 for "no limit". */
const tokensDefault = 77
const tokensMeant = 100_000

/** What a text encoder reads of a prompt. */
export interface Tokens {
  /** Always as many as the encoder reads: begun, ended, cut off and filled up. */
  ids: readonly number[]
  /** How many the whole prompt has, with its beginning and end. */
  wanted: number
}

/** What of the library's `Tokenizer` is used here; its own declarations cannot be resolved by Node's rules. */
interface Encoder {
  encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] }
  token_to_id(token: string): number | undefined
}

/** A prompt's way to numbers: the folder's `tokenizer.json`, or CLIP's `vocab.json` and `merges.txt`. */
export class PromptTokenizer {
  readonly tokensMax: number
  readonly #tokenizer: Encoder
  readonly #padding: number

  private constructor(tokenizer: Encoder, tokensMax: number, padding: number) {
    this.#tokenizer = tokenizer
    this.tokensMax = tokensMax
    this.#padding = padding
  }

  /** `encoderTokensMax`: what the encoder itself can take. Throws a `model_fault`. */
  static async open(folder: string, encoderTokensMax = Infinity): Promise<PromptTokenizer> {
    if (!(await isFolder(folder))) throw modelFault(folder, "the folder is missing")
    const config = {
      ...(await readOptionalJson(join(folder, "special_tokens_map.json"))),
      ...(await readOptionalJson(join(folder, "tokenizer_config.json"))),
    }
    const tokenizer = await openTokenizer(folder, config)
    const named = config["model_max_length"]
    const configured = typeof named === "number" && named <= tokensMeant ? named : tokensDefault
    const ending = contentOf(config["eos_token"]) ?? "<|endoftext|>"
    const padding = tokenizer.token_to_id(contentOf(config["pad_token"]) ?? ending)
    if (padding === undefined)
      throw modelFault(folder, "its padding token is not in its vocabulary")
    const tokensMax = Math.min(configured, encoderTokensMax)
    const tokenized = new PromptTokenizer(tokenizer, tokensMax, padding)
    if (!(tokensMax > tokenized.encode("").wanted)) {
      throw modelFault(folder, `model_max_length ${tokensMax} leaves no place for a word`)
    }
    return tokenized
  }

  encode(prompt: string): Tokens {
    const whole = this.#tokenizer.encode(prompt).ids
    if (whole.length <= this.tokensMax) {
      const filling = Array.from<number>({ length: this.tokensMax - whole.length })
      return { ids: [...whole, ...filling.fill(this.#padding)], wanted: whole.length }
    }
    const words = this.#tokenizer.encode(prompt, { add_special_tokens: false }).ids
    const before = whole.findIndex((_, at) => words.every((id, n) => whole[at + n] === id))
    const after = whole.slice(before + words.length)
    const ids = [...whole.slice(0, this.tokensMax - after.length), ...after]
    return { ids, wanted: whole.length }
  }
}

async function openTokenizer(folder: string, config: Json): Promise<Encoder> {
  const path = join(folder, "tokenizer.json")
  const ready = (await sizeOf(path)) !== null
  const json = ready ? await readJson(path) : await clipTokenizer(folder, config)
  const from = ready ? path : folder
  try {
    const tokenizer: Encoder = new Tokenizer(json, config)
    tokenizer.encode("a")
    return tokenizer
  } catch (error) {
    throw modelFault(from, `is no tokenizer (${messageOf(error)})`, { cause: error })
  }
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found?.isDirectory() === true
}
