import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { PromptTokenizer } from "./tokenizer.ts"

/**
 * Made by `parity/make_tokenizer.py`: a vocabulary of 645 tokens, and what transformers, whose version it names, makes of each
 * prompt.
 */
const stored = join(import.meta.dirname, "fixtures", "clip-tokenizer")

interface Row {
  prompt: string
  ids: number[]
  paddedWithBang: number[]
  length: number
}

const rows: Row[] = JSON.parse(await readFile(join(stored, "expected.json"), "utf8")).rows

const folders: string[] = []

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

/** The stored tokenizer with files changed: null takes one away. */
async function changed(files: Record<string, string | null>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tokenizer-"))
  folders.push(folder)
  await cp(stored, folder, { recursive: true })
  for (const [name, text] of Object.entries(files)) {
    if (text === null) await rm(join(folder, name))
    else await writeFile(join(folder, name), text)
  }
  return folder
}

async function configWith(values: object): Promise<string> {
  const text = await readFile(join(stored, "tokenizer_config.json"), "utf8")
  return JSON.stringify({ ...JSON.parse(text), ...values })
}

const opened = await PromptTokenizer.open(stored)

test.each(rows.map((row) => [row.prompt.slice(0, 40), row] as const))(
  "A prompt has the tokens that transformers gives it [%j]",
  (_, row) => {
    expect(opened.encode(row.prompt)).toEqual({ ids: row.ids, wanted: row.length })
  },
)

test.each(rows.map((row) => [row.prompt.slice(0, 40), row] as const))(
  "Padding is the configuration's, and a token of its own [!, as SDXL's second encoder has it: %j]",
  async (_, row) => {
    const folder = await changed({ "tokenizer_config.json": await configWith({ pad_token: "!" }) })
    const tokenizer = await PromptTokenizer.open(folder)
    expect(tokenizer.encode(row.prompt).ids).toEqual(row.paddedWithBang)
  },
)

test("An encoder that reads less than the tokenizer's configuration says has its way", async () => {
  const tokenizer = await PromptTokenizer.open(stored, 8)
  const { ids, wanted } = tokenizer.encode("a red circle above a blue square on grass")
  const whole = opened.encode("a red circle above a blue square on grass").ids
  expect(ids).toEqual([...whole.slice(0, 7), whole.at(-1)])
  expect(wanted).toBeGreaterThan(8)
})

test("A tokenizer.json is taken as it is [no beginning token, T5's way to end]", async () => {
  const model = { type: "BPE", vocab: { a: 0, b: 1, "</s>": 2 }, merges: [], unk_token: "</s>" }
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false }
  const json = {
    added_tokens: [{ id: 2, content: "</s>", special: true, ...special }],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "</s>", type_id: 0 } }],
      pair: [],
      special_tokens: { "</s>": { id: "</s>", ids: [2], tokens: ["</s>"] } },
    },
    decoder: null,
    model,
  }
  const config = { eos_token: "</s>", pad_token: "a", model_max_length: 4 }
  const folder = await changed({
    "tokenizer.json": JSON.stringify(json),
    "tokenizer_config.json": JSON.stringify(config),
    "vocab.json": null,
  })
  const tokenizer = await PromptTokenizer.open(folder)
  expect(tokenizer.encode("b").ids).toEqual([1, 2, 0, 0])
  expect(tokenizer.encode("babab")).toEqual({ ids: [1, 0, 1, 2], wanted: 6 })
})

test("A model_max_length that means no limit leaves CLIP's 77", async () => {
  const config = await configWith({ model_max_length: 1e30 })
  const tokenizer = await PromptTokenizer.open(await changed({ "tokenizer_config.json": config }))
  expect(tokenizer.tokensMax).toBe(77)
})

test("Ten thousand characters without a space are done at once", () => {
  const { ids, wanted } = opened.encode("ab".repeat(5_000))
  expect(ids).toHaveLength(77)
  expect(wanted).toBeGreaterThan(77)
})

test.each([
  ["no vocabulary", { "vocab.json": null }, /vocab\.json: the file is missing/],
  ["no merges", { "merges.txt": null }, /merges\.txt: the file is missing/],
  ["a broken vocabulary", { "vocab.json": '{"a": 1' }, /vocab\.json: not JSON/],
  [
    "a vocabulary without the end",
    { "vocab.json": '{"a": 1}' },
    /no token <\|endoftext\|>|no token <\|startoftext\|>/,
  ],
  [
    "a tokenizer.json of something else",
    { "tokenizer.json": "{}" },
    /tokenizer\.json: is no tokenizer/,
  ],
  [
    "another kind",
    { "tokenizer_config.json": '{"tokenizer_class": "T5Tokenizer"}' },
    /T5Tokenizer" needs a tokenizer\.json/,
  ],
  [
    "no place for a word",
    { "tokenizer_config.json": '{"model_max_length": 2}' },
    /leaves no place/,
  ],
] as const)(
  "A folder with %s is refused with its path and the reason",
  async (_, files, reason) => {
    const folder = await changed(files)
    const failed = PromptTokenizer.open(folder)
    await expect(failed).rejects.toThrow(reason)
    await expect(failed).rejects.toMatchObject({ refusal: { type: "model_fault" } })
    await expect(failed).rejects.toThrow(folder)
  },
)
