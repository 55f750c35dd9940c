import { join } from "node:path"
import { modelFault } from "../diffusion-error.ts"
import { type Json, isJson, readJson, readText } from "./json-file.ts"

/** CLIP's words: English endings, runs of letters, single digits, runs of anything else that is no space. */
const wordPattern = String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`

interface AddedToken {
  id: number
  content: string
  special: boolean
  single_word: false
  lstrip: boolean
  rstrip: boolean
  normalized: boolean
}

/**
 * What `tokenizer.json` would hold: the folders of Stable Diffusion 1, 2 and XL have its parts only, `vocab.json` and
 * `merges.txt`. The parts go together as in transformers' `CLIPTokenizerFast`.
 */
export async function clipTokenizer(folder: string, config: Json): Promise<Json> {
  const kind = config["tokenizer_class"] ?? "CLIPTokenizer"
  if (kind !== "CLIPTokenizer" && kind !== "CLIPTokenizerFast") {
    throw modelFault(
      folder,
      `tokenizer_class ${JSON.stringify(kind)} needs a tokenizer.json; only CLIP's is put together here`,
    )
  }
  const vocabularyPath = join(folder, "vocab.json")
  const vocabulary = await readJson(vocabularyPath)
  const merges = readMerges(await readText(join(folder, "merges.txt")))
  const idOf = (token: string): number => {
    const id = vocabulary[token]
    if (typeof id === "number") return id
    throw modelFault(vocabularyPath, `has no token ${token}`)
  }
  const begin = contentOf(config["bos_token"]) ?? "<|startoftext|>"
  const end = contentOf(config["eos_token"]) ?? "<|endoftext|>"
  const unknown = contentOf(config["unk_token"]) ?? "<|endoftext|>"
  const padding = contentOf(config["pad_token"]) ?? end
  return {
    added_tokens: addedTokens(config, [begin, end, unknown, padding], idOf),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "NFC" },
        { type: "Replace", pattern: { Regex: String.raw`\s+` }, content: " " },
        { type: "Lowercase" },
      ],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: wordPattern }, behavior: "Removed", invert: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
      ],
    },
    post_processor: {
      type: "RobertaProcessing",
      sep: [end, idOf(end)],
      cls: [begin, idOf(begin)],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: unknown,
      continuing_subword_prefix: "",
      end_of_word_suffix: "</w>",
      fuse_unk: false,
      vocab: vocabulary,
      merges,
    },
  }
}

/** The tokens that no merge makes: the four of every CLIP, and what the configuration adds (textual inversions). */
function addedTokens(
  config: Json,
  contents: readonly string[],
  idOf: (token: string) => number,
): AddedToken[] {
  const configured = config["added_tokens_decoder"]
  const listed = Object.entries(isJson(configured) ? configured : {}).flatMap(([id, token]) => {
    const content = contentOf(token)
    return content === undefined ? [] : [{ id: Number(id), content }]
  })
  const missing = [...new Set(contents)]
    .filter((content) => !listed.some((token) => token.content === content))
    .map((content) => ({ id: idOf(content), content }))
  return [...listed, ...missing].map((token) => ({
    ...token,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }))
}

/** One pair a line; the first line is a version. */
function readMerges(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#version"))
}

/** A token is written as its text, or as an object with its `content`. */
export function contentOf(token: unknown): string | undefined {
  if (typeof token === "string") return token
  return isJson(token) && typeof token["content"] === "string" ? token["content"] : undefined
}
